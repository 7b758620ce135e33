//! Noticing that what a caller would be listed changed, and that the caller may still be there to hear it.

use std::rc::Rc;

use super::caller::Caller;
use super::list::offer;
use super::ports::Ports;
use crate::catalog::snapshot::Listing;
use crate::policy::admit;

/// Notices when what a caller would be listed changes.
pub struct Watch {
    seen: Option<[u64; 4]>,
}

impl Watch {
    /// Begins to watch.
    pub async fn begin<P: Ports>(ports: &P, caller: &Caller) -> Self {
        Self {
            seen: Some(digests(ports, caller).await),
        }
    }

    /// The client was told by another way; the next look only remembers.
    pub fn forget(&mut self) {
        self.seen = None;
    }

    /// The listings that changed since the last look. Templates count as resources.
    pub async fn changed<P: Ports>(&mut self, ports: &P, caller: &Caller) -> Vec<Listing> {
        let now = digests(ports, caller).await;
        let Some(seen) = self.seen.replace(now) else {
            return Vec::new();
        };
        let mut changed = Vec::new();
        for ((listing, then), now) in Listing::ALL.into_iter().zip(seen).zip(now) {
            let listing = if listing == Listing::Templates {
                Listing::Resources
            } else {
                listing
            };
            if then != now && !changed.contains(&listing) {
                changed.push(listing);
            }
        }
        changed
    }
}

async fn digests<P: Ports>(ports: &P, caller: &Caller) -> [u64; 4] {
    let offer = offer(ports, caller).await;
    Listing::ALL.map(|listing| {
        offer
            .parts
            .iter()
            .fold(caller.active.revision, |sum, (place, snapshot)| {
                let id = place.server.id.bytes().fold(7_u64, |sum, byte| {
                    sum.wrapping_mul(31).wrapping_add(byte.into())
                });
                sum.rotate_left(5) ^ snapshot.digest(listing) ^ id
            })
    })
}

/// The notification that a listing changed.
#[must_use]
pub fn change_method(listing: Listing) -> &'static str {
    match listing {
        Listing::Tools => "notifications/tools/list_changed",
        Listing::Prompts => "notifications/prompts/list_changed",
        Listing::Resources | Listing::Templates => "notifications/resources/list_changed",
    }
}

/// The caller under the rules in force now; nothing where their token expired, their portal is gone, or no rule lets
/// them in any more.
pub async fn still_admitted<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    now_ms: u64,
) -> Option<Rc<Caller>> {
    if !caller.principal.is_anonymous() && now_ms >= caller.principal.expires_at_ms {
        return None;
    }
    let active = ports.active().await?;
    if active.revision == caller.active.revision {
        return Some(caller.clone());
    }
    let portal = active.config.portal(&caller.portal.id)?.clone();
    let admission = admit(&caller.principal, &portal, &active.config.groups).ok()?;
    Some(Rc::new(Caller {
        admission,
        portal,
        active,
        ..(**caller).clone()
    }))
}
