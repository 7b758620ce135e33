//! What the portal says about itself: `server/discover` and `initialize`.

use std::fmt::Write as _;
use std::rc::Rc;

use serde_json::{Value, json};

use super::caller::Caller;
use super::list::{Offer, offer};
use super::ports::Ports;
use crate::catalog::listing::Part;
use crate::limits::LISTING_TTL_MS;
use crate::mcp::{Revision, task};

/// Longest instructions passed on to a model.
const INSTRUCTIONS_CHARS_MAX: usize = 8_000;

/// The portal's name and version, for display.
#[must_use]
pub fn server_info(caller: &Caller) -> Value {
    json!({
        "name": "portcullis",
        "title": caller.portal.name,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// The result of `server/discover` (MCP 2026-07-28, server/discover).
pub async fn discover<P: Ports>(ports: &P, caller: &Rc<Caller>) -> Vec<u8> {
    let offer = offer(ports, caller).await;
    let mut capabilities = capabilities(&offer);
    if let (true, Some(map)) = (has_tasks(&offer), capabilities.as_object_mut()) {
        map.insert("extensions".into(), json!({ task::EXTENSION: {} }));
    }
    let versions: Vec<&str> = Revision::ALL
        .iter()
        .map(|revision| revision.as_str())
        .collect();
    json!({
        "resultType": "complete",
        "supportedVersions": versions,
        "capabilities": capabilities,
        "instructions": instructions(caller, &offer),
        "ttlMs": LISTING_TTL_MS,
        "cacheScope": "private",
        "_meta": { "io.modelcontextprotocol/serverInfo": server_info(caller) },
    })
    .to_string()
    .into_bytes()
}

/// The result of `initialize` (MCP 2025-11-25, basic/lifecycle).
pub async fn initialize<P: Ports>(ports: &P, caller: &Rc<Caller>) -> Vec<u8> {
    let offer = offer(ports, caller).await;
    let mut capabilities = capabilities(&offer);
    if let Some(capabilities) = capabilities.as_object_mut() {
        capabilities.insert("logging".into(), json!({}));
    }
    json!({
        "protocolVersion": caller.revision.as_str(),
        "capabilities": capabilities,
        "serverInfo": server_info(caller),
        "instructions": instructions(caller, &offer),
    })
    .to_string()
    .into_bytes()
}

/// The union of what the servers can do. A server that cannot be asked right now may still have anything.
fn capabilities(offer: &Offer<'_>) -> Value {
    let any = |can: fn(&crate::catalog::Facts) -> bool| {
        !offer.unavailable.is_empty()
            || offer.parts.iter().any(|(_, snapshot)| can(&snapshot.facts))
    };
    let mut capabilities = json!({
        "tools": { "listChanged": true },
        "prompts": { "listChanged": true },
        "resources": { "listChanged": true, "subscribe": any(|facts| facts.subscribe) },
    });
    if let (true, Some(map)) = (any(|facts| facts.completions), capabilities.as_object_mut()) {
        map.insert("completions".into(), json!({}));
    }
    capabilities
}

/// Whether a server that can be reached makes tasks of calls. What is only possible is not declared: a client would wait
/// for what never comes.
fn has_tasks(offer: &Offer<'_>) -> bool {
    let facts = |part: &Part<'_>| part.1.facts.modern && part.1.facts.tasks;
    offer.parts.iter().any(facts)
}

fn instructions(caller: &Caller, offer: &Offer<'_>) -> String {
    let mut text = format!(
        "{} is a portal to several servers. A tool's name begins with its server's prefix.",
        caller.portal.name
    );
    for (place, snapshot) in &offer.parts {
        if let Some(words) = &snapshot.facts.instructions {
            let _ = write!(text, "\n\n{}: {words}", place.server.name);
        }
    }
    for (server, fault) in &offer.unavailable {
        let _ = write!(
            text,
            "\n\nThe server '{server}' is unavailable: it {fault}."
        );
    }
    text.chars().take(INSTRUCTIONS_CHARS_MAX).collect()
}
