//! From the name a client uses to the server that has it: unknown, hidden and forbidden names all resolve to nothing.

use std::rc::Rc;

use super::snapshot::{Item, Match, Snapshot};
use super::sync;
use crate::config::{Portal, PortalServer, Server};
use crate::error::{Rejection, UpstreamFailure};
use crate::portal::ports::Ports;

/// A server that has what was asked for, and its own name for it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The server's place in the portal.
    pub server_index: usize,
    /// The server's own name of the tool or prompt, or the URI of the resource.
    pub name: String,
    /// The snapshot it was found in.
    pub snapshot: Rc<Snapshot>,
}

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// No server of the portal has it.
    Unknown,
    /// The server that would have it cannot say.
    Upstream(UpstreamFailure),
}

impl Target {
    /// The server with its rules in the portal.
    #[must_use]
    pub fn server<'p>(&self, portal: &'p Portal) -> Option<&'p PortalServer> {
        portal.servers.get(self.server_index)
    }

    /// The tool's description.
    #[must_use]
    pub fn tool(&self) -> Option<&Item> {
        self.snapshot.tool(&self.name)
    }
}

/// What kind of name is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
}

/// Finds the server of an exposed tool or prompt name. Longest prefix first; where two servers could own a name, the one
/// that lists it does.
///
/// # Errors
/// [`Missing`]
pub async fn by_name<P: Ports>(
    ports: &P,
    portal: &Portal,
    subject: &str,
    named: Named,
    exposed: &str,
    is_off: &dyn Fn(&str) -> bool,
) -> Result<Target, Missing> {
    for (place, rest) in portal.by_prefix(exposed) {
        let server = &place.server;
        if !server.enabled || is_off(&server.id) {
            continue;
        }
        let Some(name) = upstream_name(server, named, rest) else {
            continue;
        };
        let lists = |snapshot: &Snapshot| match named {
            Named::Tool => snapshot.tool(name).is_some(),
            Named::Prompt => snapshot.prompt(name).is_some(),
        };
        // The name may be newer than the snapshot.
        let found = match sync::snapshot_with(ports, server, subject, &lists).await {
            Ok(snapshot) => snapshot,
            // The name may be this server's, so it is no other's.
            Err(fault) => {
                return Err(Missing::Upstream(UpstreamFailure {
                    server: server.id.clone(),
                    fault,
                }));
            }
        };
        if lists(&found) {
            let server_index = portal
                .servers
                .iter()
                .position(|other| other.server.id == server.id)
                .unwrap_or_default();
            return Ok(Target {
                server_index,
                name: name.to_owned(),
                snapshot: found,
            });
        }
    }
    Err(Missing::Unknown)
}

/// Undoes alias and prefix. Prompts have no aliases.
fn upstream_name<'a>(server: &'a Server, named: Named, rest: &'a str) -> Option<&'a str> {
    match named {
        Named::Tool => server.upstream_name(rest),
        Named::Prompt => Some(rest),
    }
}

/// Finds the server that listed a resource to this principal: exactly before by template, then in the portal's order.
///
/// # Errors
/// [`Missing::Unknown`] where no server listed it, whatever servers could not be asked: a read goes only where it was
/// offered.
pub async fn by_uri<P: Ports>(
    ports: &P,
    portal: &Portal,
    subject: &str,
    uri: &str,
    is_off: &dyn Fn(&str) -> bool,
) -> Result<Target, Missing> {
    let usable = |place: &PortalServer| place.server.enabled && !is_off(&place.server.id);
    let places: Vec<usize> = portal
        .servers
        .iter()
        .enumerate()
        .filter(|(_, place)| usable(place))
        .map(|(index, _)| index)
        .collect();
    let servers: Vec<Rc<Server>> = places
        .iter()
        .filter_map(|index| portal.servers.get(*index))
        .map(|place| place.server.clone())
        .collect();
    let found = sync::snapshots(ports, &servers, subject).await;
    let mut by_template = None;
    for (server_index, snapshot) in places.into_iter().zip(found) {
        let Ok(snapshot) = snapshot else { continue };
        match snapshot.lists_resource(uri) {
            Some(Match::Exact) => {
                return Ok(Target {
                    server_index,
                    name: uri.to_owned(),
                    snapshot,
                });
            }
            Some(Match::Template) if by_template.is_none() => {
                by_template = Some(Target {
                    server_index,
                    name: uri.to_owned(),
                    snapshot,
                });
            }
            _ => {}
        }
    }
    by_template.ok_or(Missing::Unknown)
}

/// Finds the server that listed a template, by its exact text.
///
/// # Errors
/// [`Missing::Unknown`]
pub async fn by_template<P: Ports>(
    ports: &P,
    portal: &Portal,
    subject: &str,
    template: &str,
    is_off: &dyn Fn(&str) -> bool,
) -> Result<Target, Missing> {
    for (server_index, place) in portal.servers.iter().enumerate() {
        if !place.server.enabled || is_off(&place.server.id) {
            continue;
        }
        let Ok(snapshot) = sync::snapshot(ports, &place.server, subject).await else {
            continue;
        };
        let lists = |items: &[Item]| items.iter().any(|item| item.key == template);
        if lists(&snapshot.templates) || lists(&snapshot.resources) {
            return Ok(Target {
                server_index,
                name: template.to_owned(),
                snapshot,
            });
        }
    }
    Err(Missing::Unknown)
}

impl Missing {
    /// What the caller is told, given what they asked for.
    #[must_use]
    pub fn into_error(self, unknown: Rejection) -> crate::error::PortalError {
        match self {
            Self::Unknown => unknown.into(),
            Self::Upstream(failure) => failure.into(),
        }
    }
}
