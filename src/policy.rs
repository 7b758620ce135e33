//! Who may use what: one decision for every path.
//!
//! [`admit`] says whether a principal may use a portal at all; [`decide`] whether an admitted one may do one thing on
//! one server. A decision is a [`Permit`], and nothing reaches an upstream without one: it cannot be built outside this
//! module, is never serialised and never outlives the request it was made for.

use std::collections::HashMap;

use crate::config::{AccessAction, AccessRule, Portal, PortalServer, Selector, ToolDefault};
use crate::identity::Principal;

/// Can be made in this module only, and with it whatever holds one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Minted;

/// Proof that an access rule of a portal lets a principal in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The rule, as `portals.main.access[0]`.
    pub rule: String,
    minted: Minted,
}

/// Proof that one kind of request may go to one server, for one principal, now.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    server: String,
    rule: String,
    is_write: bool,
}

/// A refusal, with the rule that made it. The caller never learns the rule; the audit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule, as `servers.jira.tools.deny[1]`.
    pub rule: String,
}

/// What somebody wants to do on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Call a tool; `read_only` is the server's own annotation.
    Tool {
        /// The tool's name at the server.
        name: &'a str,
        /// `annotations.readOnlyHint` is true.
        read_only: bool,
    },
    /// Get a prompt, read or subscribe to a resource, complete an argument, keep a session: reading.
    Read,
}

impl Permit {
    /// The server it is for.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The rule that granted it, for the audit.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Whether what it permits may change something: then intent and outcome are durable around the call.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.is_write
    }
}

/// Whether a principal may use a portal. Bypass rules come first, then allow and block in order, first match wins, and
/// nobody gets in without a rule.
///
/// # Errors
/// A [`Denial`] that names the rule, or `default` where none matched.
#[expect(clippy::implicit_hasher, reason = "the configuration's own map")]
pub fn admit(
    principal: &Principal,
    portal: &Portal,
    groups: &HashMap<String, Vec<String>>,
) -> Result<Admission, Denial> {
    let name = |index: usize| format!("portals.{}.access[{index}]", portal.id);
    let matching = |action: fn(AccessAction) -> bool| {
        portal
            .access
            .iter()
            .enumerate()
            .find(move |(_, rule)| action(rule.action) && rule_matches(rule, principal, groups))
    };
    if let Some((index, _)) = matching(|action| action == AccessAction::Bypass) {
        return Ok(Admission {
            rule: name(index),
            minted: Minted,
        });
    }
    if principal.is_anonymous() {
        return Err(Denial {
            rule: format!("portals.{}.access.default", portal.id),
        });
    }
    match matching(|action| action != AccessAction::Bypass) {
        Some((index, rule)) if rule.action == AccessAction::Allow => Ok(Admission {
            rule: name(index),
            minted: Minted,
        }),
        Some((index, _)) => Err(Denial { rule: name(index) }),
        None => Err(Denial {
            rule: format!("portals.{}.access.default", portal.id),
        }),
    }
}

/// Include is any, require is all, exclude is none. A rule that includes nobody matches nobody.
fn rule_matches(
    rule: &AccessRule,
    principal: &Principal,
    groups: &HashMap<String, Vec<String>>,
) -> bool {
    let holds = |selector: &Selector| selector_holds(selector, principal, groups);
    rule.include.iter().any(holds)
        && rule.require.iter().all(holds)
        && !rule.exclude.iter().any(holds)
}

fn selector_holds(
    selector: &Selector,
    principal: &Principal,
    groups: &HashMap<String, Vec<String>>,
) -> bool {
    match selector {
        Selector::Everyone => true,
        Selector::Email(email) => principal.email.as_deref() == Some(email),
        Selector::EmailDomain(domain) => principal
            .email
            .as_deref()
            .and_then(|email| email.rsplit_once('@'))
            .is_some_and(|(_, host)| host.eq_ignore_ascii_case(domain)),
        Selector::Group(group) => {
            principal.groups.iter().any(|name| name == group)
                || principal.email.as_ref().is_some_and(|email| {
                    groups
                        .get(group)
                        .is_some_and(|members| members.contains(email))
                })
        }
        Selector::Claim { path, value } => {
            let mut steps = path.iter();
            let first = steps.next().and_then(|name| principal.claims.get(name));
            steps.fold(first, |claim, name| claim.and_then(|claim| claim.get(name))) == Some(value)
        }
    }
}

/// Whether an admitted principal may do one thing on one server. A deny pattern beats an allow pattern beats the
/// server's default; `read_only` admits what the server itself annotates as read-only.
///
/// # Errors
/// A [`Denial`] that names the rule.
pub fn decide(
    _admission: &Admission,
    portal: &Portal,
    server: &PortalServer,
    ask: Ask<'_>,
) -> Result<Permit, Denial> {
    let id = &server.server.id;
    let rule = |what: &str| format!("portals.{}/servers.{id}.tools.{what}", portal.id);
    let permit = |what: String, is_write| Permit {
        server: id.clone(),
        rule: what,
        is_write,
    };
    match ask {
        Ask::Read => Ok(permit(format!("portals.{}/servers.{id}", portal.id), false)),
        Ask::Tool { name, read_only } => {
            let is_write = !read_only;
            if let Some(index) = server
                .tools
                .deny
                .iter()
                .position(|pattern| pattern.matches(name))
            {
                return Err(Denial {
                    rule: rule(&format!("deny[{index}]")),
                });
            }
            if let Some(index) = server
                .tools
                .allow
                .iter()
                .position(|pattern| pattern.matches(name))
            {
                return Ok(permit(rule(&format!("allow[{index}]")), is_write));
            }
            match server.tools.default {
                ToolDefault::Allow => Ok(permit(rule("default"), is_write)),
                ToolDefault::ReadOnly if read_only => Ok(permit(rule("default"), false)),
                ToolDefault::ReadOnly | ToolDefault::Deny => Err(Denial {
                    rule: rule("default"),
                }),
            }
        }
    }
}

/// The portal's own permit to ask a server what it offers. Listings are read for nobody in particular, or for one
/// principal where the server says that they differ.
#[must_use]
pub fn permit_sync(server: &str) -> Permit {
    Permit {
        server: server.to_owned(),
        rule: "sync".to_owned(),
        is_write: false,
    }
}

/// The portal's own permit to take back what it began at a server: a call that waits for somebody who does not come back,
/// or may not any more.
#[must_use]
pub fn permit_take_back(server: &str) -> Permit {
    Permit {
        server: server.to_owned(),
        rule: "take_back".to_owned(),
        is_write: false,
    }
}

#[cfg(test)]
mod tests;
