//! The merged listing of a portal: every item a principal may use, in the portal's order of servers and each server's
//! own order, under the names the portal gives them.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::snapshot::{Item, Listing, Snapshot};
use crate::config::{Portal, PortalServer};
use crate::mcp::json::{escape_into, splice};
use crate::policy::{Admission, Ask, decide};

/// One server's part of a listing.
pub type Part<'p> = (&'p PortalServer, Rc<Snapshot>);

/// A page of a merged listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merged {
    /// The items as JSON texts, under their exposed names.
    pub items: Vec<Vec<u8>>,
    /// Where the next page begins, where there is one.
    pub next: Option<usize>,
    /// Items that two servers claim: (server that lost, what).
    pub collisions: Vec<(String, String)>,
}

/// Merges one listing, from `offset` for at most `limit` items.
#[must_use]
pub fn merge(
    listing: Listing,
    portal: &Portal,
    admission: &Admission,
    parts: &[Part<'_>],
    offset: usize,
    limit: usize,
) -> Merged {
    let mut merged = Merged::default();
    let mut owners: HashMap<String, &str> = HashMap::new();
    let mut position = 0_usize;
    let end = offset.saturating_add(limit);
    for (place, snapshot) in parts {
        let server = &place.server;
        for item in snapshot.items(listing) {
            if listing == Listing::Tools {
                let ask = Ask::Tool {
                    name: &item.key,
                    read_only: item.read_only,
                };
                if decide(admission, portal, place, ask).is_err() {
                    continue;
                }
            }
            let exposed = exposed_key(listing, place, item);
            if listing == Listing::Tools && !is_called(portal, parts, &exposed, place, &item.key) {
                merged.collisions.push((server.id.clone(), exposed));
                continue;
            }
            if let Some(owner) = owners.get(&exposed) {
                if *owner != server.id {
                    merged.collisions.push((server.id.clone(), exposed));
                }
                continue;
            }
            if position >= offset && position < end {
                merged.items.push(expose(listing, place, item, &exposed));
            }
            position = position.saturating_add(1);
            owners.insert(exposed, &server.id);
        }
    }
    merged.next = (position > end).then_some(end);
    merged
}

/// Whether a call of an exposed name comes to this tool: the reading that [`resolve`](super::resolve) would take, so
/// that what is listed is what is called.
fn is_called(
    portal: &Portal,
    parts: &[Part<'_>],
    exposed: &str,
    place: &PortalServer,
    name: &str,
) -> bool {
    if portal.portal_tools && crate::portal::tools::is_own(exposed) {
        return false;
    }
    let called = portal.by_prefix(exposed).find_map(|(other, rest)| {
        let own = other.server.upstream_name(rest)?;
        let (_, snapshot) = parts
            .iter()
            .find(|(part, _)| part.server.id == other.server.id)?;
        snapshot.tool(own).map(|tool| (&other.server.id, &tool.key))
    });
    called.is_some_and(|(server, own)| *server == place.server.id && own == name)
}

/// The name under which clients know an item. Resources keep their URIs.
fn exposed_key(listing: Listing, place: &PortalServer, item: &Item) -> String {
    let server = &place.server;
    match listing {
        Listing::Tools => server.exposed_name(&item.key),
        Listing::Prompts if server.prefix.is_empty() => item.key.clone(),
        Listing::Prompts => format!("{}_{}", server.prefix, item.key),
        Listing::Resources | Listing::Templates => item.key.clone(),
    }
}

fn expose(listing: Listing, place: &PortalServer, item: &Item, exposed: &str) -> Vec<u8> {
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let quoted = |text: &str| {
        let mut out = Vec::with_capacity(text.len().saturating_add(2));
        escape_into(&mut out, text);
        out
    };
    if exposed != item.key {
        edits.push((item.key_at.clone(), quoted(exposed)));
    }
    let description = (listing == Listing::Tools)
        .then(|| {
            place
                .server
                .aliases
                .get(&item.key)
                .and_then(|alias| alias.description.as_deref())
        })
        .flatten();
    if let Some(description) = description {
        if let Some(at) = &item.description_at {
            edits.push((at.clone(), quoted(description)));
        } else {
            let mut insertion = b",\"description\":".to_vec();
            insertion.extend_from_slice(&quoted(description));
            let after_key = item.key_at.end..item.key_at.end;
            edits.push((after_key, insertion));
        }
    }
    edits.sort_by_key(|(range, _)| range.start);
    let borrowed: Vec<(Range<usize>, &[u8])> = edits
        .iter()
        .map(|(range, bytes)| (range.clone(), bytes.as_slice()))
        .collect();
    splice(item.text.as_bytes(), &borrowed)
}
