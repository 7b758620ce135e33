//! What goes the other way in a legacy session: a server's requests to the client, the client's answers, and
//! notifications in both directions.

use std::rc::Rc;

use super::caller::{Caller, Deed};
use super::ports::{Parked, Ports, UpstreamSession};
use super::rounds;
use crate::config::PortalServer;
use crate::error::{PortalError, Rejection};
use crate::limits::CLIENT_EVENT_BYTES_MAX;
use crate::mcp::json::{Raw, escape_into, splice};
use crate::mcp::message::{Notification, Response};
use crate::mcp::reply::Glance;
use crate::mcp::{Era, Method};
use crate::policy::{Ask, Permit, decide, permit_take_back};
use crate::upstream::endpoint::server_of;
use crate::upstream::legacy_request;
use crate::upstream::session as upstream_session;

/// Makes a server's request the portal's own request to the client: under an id, and a progress token, that name the
/// server. `call` is the kept call in which it asks. Nothing where there is no client to ask.
pub async fn ask_client<P: Ports>(
    ports: &P,
    server: &str,
    message: &[u8],
    id: Raw<'_>,
    call: Option<String>,
) -> Option<Vec<u8>> {
    let parked = Parked::Server {
        id: id.text.to_owned(),
        call,
    };
    let client_id = ports.park(server, parked).await?;
    let mut edits = vec![(id.start..id.end, client_id.into_bytes())];
    if let Some(token) = progress_token(message) {
        let mut quoted = Vec::new();
        escape_into(&mut quoted, &format!("{server}:{}", token.text));
        edits.push((token.start..token.end, quoted));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let borrowed: Vec<_> = edits
        .iter()
        .map(|(range, bytes)| (range.clone(), bytes.as_slice()))
        .collect();
    Some(splice(message, &borrowed))
}

/// A server takes back a request it sent to the client. Nothing where the client never saw it.
#[must_use]
pub fn cancelled_for_client<P: Ports>(ports: &P, server: &str, message: &[u8]) -> Option<Vec<u8>> {
    let id = param(message, "requestId")?;
    let client_id = ports.parked(server, id.text)?;
    Some(splice(message, &[(id.start..id.end, client_id.as_bytes())]))
}

/// A message of a server that belongs to no call: from the stream of its session. What the client receives, if anything.
pub async fn from_server<P: Ports>(ports: &P, server: &str, message: &[u8]) -> Option<Vec<u8>> {
    use crate::mcp::reply::Direction;
    if message.len() > CLIENT_EVENT_BYTES_MAX {
        return None;
    }
    let glance = Glance::at(message).ok()?;
    match (glance.direction()?, glance.method_name()) {
        (Direction::Request, _) => ask_client(ports, server, message, glance.id?, None).await,
        (Direction::Notification, Some("notifications/cancelled")) => {
            cancelled_for_client(ports, server, message)
        }
        (Direction::Notification, name) => {
            if name.is_some_and(|name| name.ends_with("/list_changed")) {
                ports.outdate(server).await;
            }
            Some(message.to_vec())
        }
        (Direction::Answer, _) => None,
    }
}

/// The client answers a server's request.
///
/// # Errors
/// [`Rejection::NobodyWaits`] where no server does: each request is answered once, by the client it went to.
pub async fn answered<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    response: &Response<'_>,
) -> Result<(), PortalError> {
    let deed = Deed {
        method: "response".to_owned(),
        ..Deed::default()
    };
    let Some((server, parked)) = ports.unpark(response.id.text).await else {
        let error = PortalError::from(Rejection::NobodyWaits);
        caller.refuse(ports, &deed, error.label());
        return Err(error);
    };
    let upstream_id = match parked {
        Parked::Server { id, .. } => id,
        Parked::Round { call, key } => {
            let result = Glance::at(response.body)
                .ok()
                .and_then(|glance| serde_json::from_str(glance.result?.text).ok());
            rounds::answered(ports, &call, &key, result).await;
            return Ok(());
        }
    };
    let id = response.id;
    let body = splice(response.body, &[(id.start..id.end, upstream_id.as_bytes())]);
    deliver(ports, caller, &server, body).await;
    Ok(())
}

/// The client notifies. What no server needs to know ends here.
pub async fn notified<P: Ports>(ports: &P, caller: &Rc<Caller>, notification: &Notification<'_>) {
    let params = &notification.params;
    match Method::parse(&notification.method) {
        Some(Method::Cancelled) => {
            if let (Some(id), Some(kept)) = (params.request_id, ports.kept()) {
                kept.cancel(id.text);
            }
            let server = params.request_id.and_then(|id| ports.in_flight(id.text));
            if let Some(server) = server {
                deliver(ports, caller, &server, notification.body.to_vec()).await;
            }
        }
        Some(Method::Progress) => {
            let Some(token) = params.progress_token else {
                return;
            };
            let named = serde_json::from_str::<String>(token.text).unwrap_or_default();
            if let Some((server, own)) = named.split_once(':').filter(|(_, own)| is_token(own)) {
                let body = splice(
                    notification.body,
                    &[(token.start..token.end, own.as_bytes())],
                );
                deliver(ports, caller, server, body).await;
            }
        }
        Some(Method::RootsChanged) => {
            for server in ports.open_upstreams() {
                deliver(ports, caller, &server, notification.body.to_vec()).await;
            }
        }
        _ => {}
    }
}

/// The client sets its log level: for every server it has a session with, and for those to come.
pub async fn set_log_level<P: Ports>(ports: &P, caller: &Rc<Caller>, level: &str) {
    ports.set_log_level(level).await;
    for server in ports.open_upstreams() {
        if let Some((place, permit, session)) = route(ports, caller, &server) {
            upstream_session::set_log_level(ports, &permit, &place.server, &session, level).await;
        }
    }
}

/// The client's session ends: so do those with servers on its behalf.
pub async fn end<P: Ports>(ports: &P, caller: &Rc<Caller>) {
    for server in ports.open_upstreams() {
        if let Some((place, permit, session)) = route(ports, caller, &server) {
            upstream_session::end(ports, &permit, &place.server, &session).await;
        }
    }
}

/// The client is gone for good: the sessions with servers on its behalf are ended by the portal for itself.
pub async fn leave<P: Ports>(ports: &P) {
    let Some(active) = ports.active().await else {
        return;
    };
    for id in ports.open_upstreams() {
        let (Some(server), Some(session)) = (
            active.config.servers.get(&id),
            ports.upstream_session("", &id),
        ) else {
            continue;
        };
        let permit = permit_take_back(&id);
        upstream_session::end(ports, &permit, server, &session).await;
    }
}

/// A server of the portal with which this client has a session, or that works for it on a connection of its own.
fn route<'c, P: Ports>(
    ports: &P,
    caller: &'c Caller,
    server: &str,
) -> Option<(&'c PortalServer, Permit, UpstreamSession)> {
    let place = caller
        .portal
        .server(server_of(server))
        .filter(|place| place.server.enabled)?;
    let permit = decide(&caller.admission, &caller.portal, place, Ask::Read).ok()?;
    let session = ports
        .connection(server)
        .or_else(|| ports.upstream_session(&caller.principal.subject, server))?;
    Some((place, permit, session))
}

/// Sends a message that has no answer.
async fn deliver<P: Ports>(ports: &P, caller: &Rc<Caller>, server: &str, body: Vec<u8>) {
    debug_assert_eq!(caller.era, Era::Legacy);
    if let Some((place, permit, session)) = route(ports, caller, server) {
        let _ = ports
            .send(
                &permit,
                &place.server,
                legacy_request(&place.server, Some(&session), body),
            )
            .await;
    }
}

/// Whether a text is one JSON string or number and nothing more: it is put into a message as it is.
fn is_token(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text)
        .is_ok_and(|token| token.is_string() || token.is_number())
}

fn progress_token(message: &[u8]) -> Option<Raw<'_>> {
    let params = Glance::at(message).ok()?.params?;
    let meta = member(params, "_meta")?;
    member(meta, "progressToken")
}

/// A member of a message's `params`.
pub(super) fn param<'m>(message: &'m [u8], name: &str) -> Option<Raw<'m>> {
    member(Glance::at(message).ok()?.params?, name)
}

fn member<'m>(object: Raw<'m>, name: &str) -> Option<Raw<'m>> {
    use crate::limits::REPLY_DEPTH_MAX;
    use crate::mcp::json::Reader;
    let mut found = None;
    let read = Reader::again(object, REPLY_DEPTH_MAX).object(|reader, key| {
        if key == name {
            found = Some(reader.raw()?);
        }
        Ok(())
    });
    read.ok().and(found)
}
