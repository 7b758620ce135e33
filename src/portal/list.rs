//! The portal's own listings.

use std::fmt::Write as _;
use std::rc::Rc;

use super::caller::{Caller, Deed, Ending};
use super::ports::{Original, Ports};
use super::reply::Reply;
use super::tools;
use crate::audit::{Kind, Status};
use crate::catalog::listing::{Part, merge};
use crate::catalog::snapshot::Listing;
use crate::catalog::sync;
use crate::config::PortalServer;
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure, UpstreamFault};
use crate::limits::{LISTING_TTL_MS, PAGE_ITEMS_MAX};
use crate::mcp::json::escape_into;
use crate::mcp::{Era, Request, reply};
use crate::seal::Binding;

/// The servers of a portal a caller has switched on, with what each offers or why it cannot.
pub struct Offer<'c> {
    /// In the portal's order.
    pub parts: Vec<Part<'c>>,
    /// Servers without a listing.
    pub unavailable: Vec<(String, UpstreamFault)>,
}

/// Collects what the caller's servers offer.
pub async fn offer<'c, P: Ports>(ports: &P, caller: &'c Caller) -> Offer<'c> {
    let off = caller.toggled_off(ports).await;
    let places: Vec<&PortalServer> = caller
        .portal
        .servers
        .iter()
        .filter(|place| place.server.enabled && !off.contains(&place.server.id))
        .collect();
    let servers: Vec<_> = places.iter().map(|place| place.server.clone()).collect();
    let found = sync::snapshots(ports, &servers, &caller.principal.subject).await;
    let mut offer = Offer {
        parts: Vec::new(),
        unavailable: Vec::new(),
    };
    for (place, found) in places.into_iter().zip(found) {
        match found {
            Ok(snapshot) => offer.parts.push((place, snapshot)),
            Err(fault) => offer.unavailable.push((place.server.id.clone(), fault)),
        }
    }
    offer
}

/// Answers a listing request.
///
/// # Errors
/// A cursor that is not good here, or a portal none of whose servers can be reached: an empty list would be a lie.
pub async fn list<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    listing: Listing,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let mut deed = Deed {
        method: listing.method().to_owned(),
        ..Deed::default()
    };
    if !ports.has_room() {
        let error = PortalError::from(Internal::AuditAway);
        caller.refuse(ports, &deed, error.label());
        return Err(error);
    }
    let offset = match offset(ports, caller, listing, request) {
        Ok(offset) => offset,
        Err(error) => {
            caller.refuse(ports, &deed, error.label());
            return Err(error);
        }
    };
    let Offer { parts, unavailable } = offer(ports, caller).await;
    if let (true, Some((server, fault))) = (parts.is_empty(), unavailable.first()) {
        let error = UpstreamFailure {
            server: server.clone(),
            fault: fault.clone(),
        };
        record(
            ports,
            caller,
            &deed,
            Status::UpstreamFailed,
            &unavailable,
            0,
        );
        return Err(error.into());
    }
    let merged = merge(
        listing,
        &caller.portal,
        &caller.admission,
        &parts,
        offset,
        PAGE_ITEMS_MAX,
    );
    let mut out = Vec::with_capacity(
        merged
            .items
            .iter()
            .map(|item| item.len().saturating_add(1))
            .sum::<usize>()
            + 512,
    );
    out.extend_from_slice(format!("{{\"{}\":[", listing.member()).as_bytes());
    let own = if listing == Listing::Tools && offset == 0 && caller.portal.portal_tools {
        tools::definitions()
    } else {
        Vec::new()
    };
    let items = own
        .iter()
        .map(std::string::String::as_bytes)
        .chain(merged.items.iter().map(Vec::as_slice));
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.push(b']');
    if let Some(next) = merged.next {
        let cursor =
            seal_offset(ports, caller, listing, next).ok_or(crate::error::Internal::Platform)?;
        out.extend_from_slice(b",\"nextCursor\":");
        escape_into(&mut out, &cursor);
    }
    out.extend_from_slice(listing_meta(caller, &unavailable, &merged.collisions).as_bytes());
    out.push(b'}');
    deed.target = (offset > 0).then(|| format!("offset {offset}"));
    record(ports, caller, &deed, Status::Ok, &unavailable, out.len());
    Ok(Reply::json(reply::result(request.id.text, &out)))
}

/// What every listing says about itself: how long it holds, that it is the caller's alone, and what is missing from it.
fn listing_meta(
    caller: &Caller,
    unavailable: &[(String, UpstreamFault)],
    collisions: &[(String, String)],
) -> String {
    let mut meta = serde_json::Map::new();
    if caller.era == Era::Modern {
        meta.insert(
            "io.modelcontextprotocol/serverInfo".into(),
            super::discover::server_info(caller),
        );
    }
    if !unavailable.is_empty() {
        let servers = unavailable.iter().map(
            |(server, fault)| serde_json::json!({ "server": server, "reason": fault.to_string() }),
        );
        meta.insert("portcullis/unavailableServers".into(), servers.collect());
    }
    if !collisions.is_empty() {
        const COLLISIONS_MAX: usize = 20;
        let names = collisions
            .iter()
            .take(COLLISIONS_MAX)
            .map(|(server, name)| serde_json::json!({ "server": server, "hidden": name }));
        meta.insert("portcullis/collisions".into(), names.collect());
    }
    let mut text = String::new();
    if caller.era == Era::Modern {
        let _ = write!(
            text,
            ",\"resultType\":\"complete\",\"ttlMs\":{LISTING_TTL_MS},\"cacheScope\":\"private\""
        );
    }
    if !meta.is_empty() {
        let _ = write!(text, ",\"_meta\":{}", serde_json::Value::Object(meta));
    }
    text
}

fn record<P: Ports>(
    ports: &P,
    caller: &Caller,
    deed: &Deed,
    status: Status,
    unavailable: &[(String, UpstreamFault)],
    reply_bytes: usize,
) {
    let names: Vec<&str> = unavailable
        .iter()
        .map(|(server, _)| server.as_str())
        .collect();
    let reason = (!names.is_empty()).then(|| format!("unavailable: {}", names.join(", ")));
    let ending = Ending {
        kind: Kind::Outcome,
        status,
        reason,
        reply_bytes: reply_bytes as u64,
    };
    ports.queue(caller.event(ports, deed, ending));
}

fn cursor_binding(caller: &Caller, listing: Listing) -> Binding<'_> {
    Binding {
        kind: "cursor",
        principal: &caller.principal.subject,
        place: &caller.portal.id,
        request: listing.method(),
    }
}

fn offset<P: Ports>(
    ports: &P,
    caller: &Caller,
    listing: Listing,
    request: &Request<'_>,
) -> Result<usize, PortalError> {
    let Some(cursor) = &request.params.cursor else {
        return Ok(0);
    };
    ports
        .sealer()
        .open(
            cursor_binding(caller, listing),
            &cursor.value,
            ports.now_ms(),
        )
        .and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok())
        .ok_or_else(|| Rejection::BadSeal.into())
}

fn seal_offset<P: Ports>(
    ports: &P,
    caller: &Caller,
    listing: Listing,
    offset: usize,
) -> Option<String> {
    let mut nonce = [0_u8; 24];
    ports.fill(&mut nonce);
    ports.sealer().seal(
        cursor_binding(caller, listing),
        offset.to_string().as_bytes(),
        ports.now_ms(),
        nonce,
    )
}
