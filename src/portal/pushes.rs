//! The feeds of one listening modern client: one for each server whose resources it wants, and none for listings.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::stream::{LocalBoxStream, SelectAll};

use super::caller::Caller;
use super::feed::{self, Feed, Pushed, Retry, covers};
use super::ports::Ports;
use crate::catalog::resolve;
use crate::config::PortalServer;
use crate::error::UpstreamFault;
use crate::limits::LISTEN_STREAMS_MAX;
use crate::mcp::Era;
use crate::policy::{Ask, Permit, decide};

/// What a listener's feeds tell it.
pub(super) enum Told {
    /// A listing of the server changed.
    Changed(String),
    /// Resources changed, or may have.
    Updated(Vec<String>),
    /// What was acknowledged does not hold any more.
    Lost,
}

/// What happens to one feed.
enum Event {
    Pushed(Pushed),
    /// It stands again after it broke off; what was pushed meanwhile is not known.
    Again,
    /// It broke off, or could not be opened again.
    Broken,
}

type Events = LocalBoxStream<'static, (usize, Event)>;

/// The feeds.
pub(super) struct Pushes {
    feeds: Vec<Held>,
    events: SelectAll<Events>,
}

struct Held {
    wanted: Wanted,
    retry: Retry,
}

/// One server's share of what a client wants to hear.
#[derive(Clone)]
struct Wanted {
    server: String,
    era: Era,
    uris: Vec<String>,
}

impl Pushes {
    /// Opens the feeds, and tells which resources are honoured, in the order they were asked for: those of this
    /// caller's servers, of as many of them as connections allow, and that the server itself agreed to push.
    pub(super) async fn begin<P: Ports>(
        ports: &P,
        caller: &Rc<Caller>,
        off: &BTreeSet<String>,
        uris: &[String],
    ) -> (Self, Vec<String>) {
        let wanted = wanted(ports, caller, off, uris).await;
        let opened: Vec<(Wanted, Result<Feed, UpstreamFault>)> = futures::stream::iter(wanted)
            .map(|wanted| async move {
                let feed = open(ports, caller, &wanted).await;
                (wanted, feed)
            })
            .buffered(LISTEN_STREAMS_MAX)
            .collect()
            .await;
        let mut pushes = Self {
            feeds: Vec::new(),
            events: SelectAll::new(),
        };
        let mut honoured: BTreeSet<String> = BTreeSet::new();
        for (mut wanted, feed) in opened {
            let Ok(feed) = feed else { continue };
            if feed.honoured.is_empty() {
                continue;
            }
            honoured.extend(feed.honoured.iter().cloned());
            wanted.uris.clone_from(&feed.honoured);
            let mut retry = Retry::default();
            retry.opened(ports.now_ms());
            let index = pushes.feeds.len();
            pushes.feeds.push(Held { wanted, retry });
            pushes.events.push(events(index, feed));
        }
        let honoured = uris.iter().filter(|uri| honoured.contains(*uri));
        let honoured = honoured.cloned().collect();
        (pushes, honoured)
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The servers with a feed, for the audit.
    pub(super) fn servers(&self) -> impl Iterator<Item = &str> {
        self.feeds.iter().map(|held| held.wanted.server.as_str())
    }

    /// Whether the caller may still read at every server with a feed.
    pub(super) fn are_allowed(&self, caller: &Caller, off: &BTreeSet<String>) -> bool {
        self.servers()
            .all(|server| !off.contains(server) && permit(caller, server).is_some())
    }

    /// Waits for what comes next. Giving up waiting loses nothing.
    pub(super) async fn next<P: Ports>(&mut self, ports: &P, caller: &Rc<Caller>) -> Option<Told> {
        loop {
            let (index, event) = self.events.next().await?;
            let Some(held) = self.feeds.get_mut(index) else {
                continue;
            };
            let uris = &held.wanted.uris;
            match event {
                Event::Pushed(Pushed::Changed) => {
                    return Some(Told::Changed(held.wanted.server.clone()));
                }
                Event::Pushed(Pushed::Updated(updated)) => {
                    if uris.iter().any(|uri| covers(uri, &updated)) {
                        return Some(Told::Updated(vec![updated]));
                    }
                }
                Event::Again => {
                    held.retry.opened(ports.now_ms());
                    return Some(Told::Updated(uris.clone()));
                }
                Event::Broken => {
                    let Some(pause_ms) = held.retry.pause_ms(ports.now_ms()) else {
                        return Some(Told::Lost);
                    };
                    let again = again(ports, caller, held.wanted.clone(), index, pause_ms);
                    self.events.push(again);
                }
            }
        }
    }
}

/// Which server each resource belongs to, as far as this caller may know, with no more servers than connections allow.
async fn wanted<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    off: &BTreeSet<String>,
    uris: &[String],
) -> Vec<Wanted> {
    let is_off = |server: &str| off.contains(server);
    let mut wanted: Vec<Wanted> = Vec::new();
    for uri in uris {
        let subject = &caller.principal.subject;
        let found = resolve::by_uri(ports, &caller.portal, subject, uri, &is_off).await;
        let Ok(target) = found else { continue };
        let Some(place) = target.server(&caller.portal) else {
            continue;
        };
        let facts = &target.snapshot.facts;
        let Some(era) = facts.era_for(caller.era) else {
            continue;
        };
        // A modern server's acknowledgment says what it can; a legacy one would have to be asked in vain.
        if era == Era::Legacy && !facts.subscribe {
            continue;
        }
        let server = &place.server.id;
        let has_room = wanted.len() < LISTEN_STREAMS_MAX;
        match wanted.iter_mut().find(|wanted| wanted.server == *server) {
            Some(known) if known.uris.contains(uri) => {}
            Some(known) => known.uris.push(uri.clone()),
            None if has_room => wanted.push(Wanted {
                server: server.clone(),
                era,
                uris: vec![uri.clone()],
            }),
            None => {}
        }
    }
    wanted
}

/// The caller's permit to read at a server of their portal.
pub(super) fn permit<'c>(caller: &'c Caller, server: &str) -> Option<(&'c PortalServer, Permit)> {
    let place = caller.portal.server(server)?;
    if !place.server.enabled {
        return None;
    }
    let permit = decide(&caller.admission, &caller.portal, place, Ask::Read).ok()?;
    Some((place, permit))
}

async fn open<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    wanted: &Wanted,
) -> Result<Feed, UpstreamFault> {
    let Some((place, permit)) = permit(caller, &wanted.server) else {
        return Ok(Feed::refused());
    };
    feed::open(
        ports,
        permit,
        place.server.clone(),
        wanted.era,
        &wanted.uris,
    )
    .await
}

fn events(index: usize, feed: Feed) -> Events {
    let pushed = feed
        .pushed
        .map(move |pushed| (index, Event::Pushed(pushed)));
    let broken = futures::stream::once(async move { (index, Event::Broken) });
    pushed.chain(broken).boxed_local()
}

/// The feed again after a pause. One that honours less than was acknowledged does not stand.
fn again<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    wanted: Wanted,
    index: usize,
    pause_ms: u64,
) -> Events {
    let (ports, caller) = (ports.clone(), caller.clone());
    let opening = async move {
        ports.sleep_ms(pause_ms).await;
        match open(&ports, &caller, &wanted).await {
            Ok(feed) if feed.honoured == wanted.uris => {
                let stands = futures::stream::once(async move { (index, Event::Again) });
                stands.chain(events(index, feed)).boxed_local()
            }
            _ => futures::stream::once(async move { (index, Event::Broken) }).boxed_local(),
        }
    };
    futures::stream::once(opening).flatten().boxed_local()
}
