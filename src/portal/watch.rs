//! Noticing that what a caller would be listed changed, and that the caller may still be there to hear it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::caller::Caller;
use super::ports::Ports;
use crate::catalog::look::{Looked, claim, look, renew};
use crate::catalog::snapshot::{Listing, Snapshot};
use crate::limits::{EPOCH_AGE_MAX_MS, LOOK_AGAIN_MS};
use crate::policy::admit;

/// How long after a fetch was begun it is looked for more often: a server that takes longer is no hurry.
const EXPECTS_MS_MAX: u64 = 5_000;

/// Notices when what a caller would be listed changes. While it watches, what servers offer is fetched anew when it is
/// due, a few servers at a time, and nothing is ever waited for.
pub struct Watch {
    seen: BTreeMap<String, Seen>,
    revision: u64,
    /// A few are being fetched.
    is_renewing: Rc<Cell<bool>>,
    /// The server whose turn was last.
    renewed_last: Option<String>,
    /// Until when it is worth looking for them more often.
    expects_until_ms: u64,
}

/// What a caller would be listed of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Nobody asked the server yet, so nobody was listed anything else.
    Nothing,
    /// The server failed, and was left out of what was listed.
    Unavailable,
    /// The digest of each listing.
    Listed([u64; 4]),
}

impl Seen {
    fn digests(self) -> Option<[u64; 4]> {
        match self {
            Self::Nothing => None,
            Self::Unavailable => Some([Snapshot::EMPTY_DIGEST; 4]),
            Self::Listed(digests) => Some(digests),
        }
    }
}

impl Watch {
    /// Begins to watch.
    pub async fn begin<P: Ports>(ports: &P, caller: &Caller, off: &BTreeSet<String>) -> Self {
        let mut watch = Self {
            seen: BTreeMap::new(),
            revision: caller.active.revision,
            is_renewing: Rc::default(),
            renewed_last: None,
            expects_until_ms: 0,
        };
        watch.seen = watch.look(ports, caller, off).await;
        watch
    }

    /// The listings that changed since the last look. Templates count as resources.
    pub async fn changed<P: Ports>(
        &mut self,
        ports: &P,
        caller: &Caller,
        off: &BTreeSet<String>,
    ) -> Vec<Listing> {
        let now = self.look(ports, caller, off).await;
        let then = std::mem::replace(&mut self.seen, now);
        // Other rules may list other things of the same servers.
        let all = self.revision != caller.active.revision;
        self.revision = caller.active.revision;
        let mut changed = Vec::new();
        for (index, listing) in Listing::ALL.into_iter().enumerate() {
            let listing = if listing == Listing::Templates {
                Listing::Resources
            } else {
                listing
            };
            if (all || differ(&then, &self.seen, index)) && !changed.contains(&listing) {
                changed.push(listing);
            }
        }
        changed
    }

    /// How long until the next look is due: sooner where a listing is just being fetched.
    #[must_use]
    pub fn pause_ms(&self, now_ms: u64) -> u64 {
        if now_ms < self.expects_until_ms {
            LOOK_AGAIN_MS
        } else {
            EPOCH_AGE_MAX_MS
        }
    }

    async fn look<P: Ports>(
        &mut self,
        ports: &P,
        caller: &Caller,
        off: &BTreeSet<String>,
    ) -> BTreeMap<String, Seen> {
        let servers: Vec<_> = caller
            .portal
            .servers
            .iter()
            .map(|place| &place.server)
            .filter(|server| server.enabled && !off.contains(&server.id))
            .cloned()
            .collect();
        let looked = look(ports, &servers, &caller.principal.subject).await;
        self.renew(ports, &looked, &caller.principal.subject);
        servers
            .iter()
            .zip(looked)
            .map(|(server, looked)| {
                let last = self.seen.get(&server.id).copied();
                let seen = match looked.snapshot {
                    Some(snapshot) => Seen::Listed(Listing::ALL.map(|l| snapshot.digest(l))),
                    None if looked.is_failing => Seen::Unavailable,
                    // It is being fetched.
                    None => last.unwrap_or(Seen::Nothing),
                };
                (server.id.clone(), seen)
            })
            .collect()
    }
}

impl Watch {
    /// Begins to fetch what is due, where the last few have come.
    fn renew<P: Ports>(&mut self, ports: &P, looked: &[Looked], subject: &str) {
        if self.is_renewing.get() {
            return;
        }
        self.expects_until_ms = 0;
        let claimed = claim(ports, looked, self.renewed_last.as_deref());
        let Some(last) = claimed.last() else { return };
        self.renewed_last = Some(last.server_id().to_owned());
        self.is_renewing.set(true);
        self.expects_until_ms = ports.now_ms().saturating_add(EXPECTS_MS_MAX);
        let (task_ports, subject) = (ports.clone(), subject.to_owned());
        let is_renewing = self.is_renewing.clone();
        ports.spawn(Box::pin(async move {
            renew(&task_ports, claimed, &subject).await;
            is_renewing.set(false);
        }));
    }
}

/// Whether a listing is another now than it was then. A server that came or went counts with all it has.
fn differ(then: &BTreeMap<String, Seen>, now: &BTreeMap<String, Seen>, index: usize) -> bool {
    let digest = |seen: Option<&Seen>| {
        let seen = *seen.unwrap_or(&Seen::Unavailable);
        seen.digests()
            .and_then(|digests| digests.get(index).copied())
    };
    then.keys().chain(now.keys()).any(|server| {
        match (digest(then.get(server)), digest(now.get(server))) {
            (Some(then), Some(now)) => then != now,
            _ => false,
        }
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
