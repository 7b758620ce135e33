//! Resource subscriptions of a legacy client at modern servers: `resources/subscribe` there is one stream of
//! `subscriptions/listen` for each server, which the portal holds for the client's session.
//!
//! What is subscribed are rows of the session; the streams are memory. They are opened again from the rows where they
//! broke off or the session's memory was lost, and then each resource is called updated, since what was pushed meanwhile
//! is not known.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable, Either, select};
use futures::lock::Mutex;

use super::caller::{Caller, Deed, Ending};
use super::feed::{self, Feed, Pushed, Retry, covers};
use super::ports::{Original, Ports};
use super::pushes::permit;
use super::reply::Reply;
use super::watch::still_admitted;
use crate::audit::{Kind, Status};
use crate::config::PortalServer;
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure, UpstreamFault};
use crate::limits::{EPOCH_AGE_MAX_MS, LISTEN_MS_MAX, SUBSCRIPTIONS_MAX};
use crate::mcp::json::escape_into;
use crate::mcp::{Era, Method, Request, reply};
use crate::policy::Permit;

/// A resource subscription: the server's id and the URI.
pub type Subscription = (String, String);

/// What a legacy client subscribed to at modern servers, kept for the life of its session.
pub trait Subscriptions {
    /// The streams open for them. Nothing where the client has no session, and so cannot subscribe.
    fn feeds(&self) -> Option<Rc<Feeds>>;
    /// What is subscribed.
    fn subscriptions(&self) -> Vec<Subscription>;
    /// Keeps one; false where it could not be written.
    fn keep_subscription(&self, server: &str, uri: &str) -> bool;
    /// Forgets one.
    fn drop_subscription(&self, server: &str, uri: &str);
    /// Sends the client a message that belongs to no request: on a stream of its own, or when it has one.
    fn tell_client(&self, message: &[u8]);
    /// Whether the client has a stream open.
    fn is_client_listening(&self) -> bool;
}

/// The streams a session holds for its subscriptions: at most one for each server.
#[derive(Default)]
pub struct Feeds {
    /// The caller of the session's latest request: whose rights count between requests.
    caller: RefCell<Option<Rc<Caller>>>,
    slots: RefCell<HashMap<String, Rc<Slot>>>,
}

/// One server's.
#[derive(Default)]
struct Slot {
    /// Who holds it is the one that opens a stream.
    turn: Mutex<()>,
    held: RefCell<Option<Held>>,
}

/// A stream that is read, or opened again, until this is dropped.
struct Held {
    abort: AbortHandle,
    is_alive: Rc<Cell<bool>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Feeds {
    /// Ends every stream: the session is over.
    pub fn release(&self) {
        // What reads a stream keeps its slot.
        for (_, slot) in self.slots.borrow_mut().drain() {
            drop(slot.held.borrow_mut().take());
        }
    }

    fn slot(&self, server: &str) -> Rc<Slot> {
        let mut slots = self.slots.borrow_mut();
        slots.entry(server.to_owned()).or_default().clone()
    }
}

impl Slot {
    fn is_alive(&self) -> bool {
        let held = self.held.borrow();
        held.as_ref().is_some_and(|held| held.is_alive.get())
    }
}

/// The session's client is here: its rights are those that count from now on, and streams that are not open any more are
/// opened again. Nothing is waited for.
pub fn take_up<P: Ports>(ports: &P, caller: &Rc<Caller>) {
    let Some(feeds) = ports.feeds() else { return };
    *feeds.caller.borrow_mut() = Some(caller.clone());
    let servers: BTreeSet<String> = ports
        .subscriptions()
        .into_iter()
        .map(|(server, _)| server)
        .collect();
    for server in servers {
        let slot = feeds.slot(&server);
        // Whoever has the turn is at it.
        if !slot.is_alive() && slot.turn.try_lock().is_some() {
            hold(ports, &feeds, &slot, &server, None);
        }
    }
}

/// Answers `resources/subscribe` and `resources/unsubscribe` at a modern server: subscribed is what the server
/// acknowledged.
///
/// # Errors
/// Too many subscriptions, a server that does not honour this one or fails, or a session that cannot be written.
pub(super) async fn answer<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    request: &Request<'_>,
    deed: &Deed,
    place: &PortalServer,
    permit: Permit,
) -> Result<Reply<Original<P>>, PortalError> {
    let uri = deed.target.as_deref().unwrap_or_default();
    if deed.method == Method::ResourcesSubscribe.as_str() {
        subscribe(ports, caller, place, permit, uri).await?;
    }
    Ok(done(ports, caller, request, deed))
}

/// Answers `resources/unsubscribe` where the session holds the subscription, whatever became of the server or the
/// resource since. Nothing where it holds none.
pub(super) async fn release<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    request: &Request<'_>,
) -> Option<Reply<Original<P>>> {
    let feeds = ports.feeds()?;
    let uri = request.params.uri.as_ref()?.value.to_string();
    let held = ports.subscriptions();
    let (server, _) = held.into_iter().find(|(_, held)| *held == uri)?;
    let mut deed = Deed {
        method: Method::ResourcesUnsubscribe.as_str().to_owned(),
        server: Some(server.clone()),
        target: Some(uri.clone()),
        ..Deed::default()
    };
    // From here on nothing of it is passed on, whatever the server still pushes.
    ports.drop_subscription(&server, &uri);
    let slot = feeds.slot(&server);
    let _turn = slot.turn.lock().await;
    let rest = subscribed(ports, &server);
    let allowed = permit(caller, &server);
    deed.rule = allowed.as_ref().map(|(_, permit)| permit.rule().to_owned());
    match allowed {
        Some((place, permit)) if !rest.is_empty() => {
            // The wider stream ends when the narrower one stands. Until then it tells more than is passed on.
            let opened = feed::open(ports, permit, place.server.clone(), Era::Modern, &rest).await;
            if let Ok(feed) = opened
                && feed.honoured == rest
            {
                hold(ports, &feeds, &slot, &server, Some(feed));
            }
        }
        _ => drop(slot.held.borrow_mut().take()),
    }
    Some(done(ports, caller, request, &deed))
}

/// Opens the server's stream anew with one resource more, and keeps the subscription once the server acknowledged it.
async fn subscribe<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    place: &PortalServer,
    permit: Permit,
    uri: &str,
) -> Result<(), PortalError> {
    let feeds = ports.feeds().ok_or(Rejection::SubscriptionNeedsSession)?;
    *feeds.caller.borrow_mut() = Some(caller.clone());
    let server = &place.server.id;
    let slot = feeds.slot(server);
    let _turn = slot.turn.lock().await;
    let mut uris = subscribed(ports, server);
    let is_held = uris.iter().any(|held| held == uri);
    if is_held && slot.is_alive() {
        return Ok(());
    }
    if !is_held {
        if ports.subscriptions().len() >= SUBSCRIPTIONS_MAX {
            return Err(Rejection::TooMany("resource subscriptions").into());
        }
        uris.push(uri.to_owned());
    }
    let failed = |fault: UpstreamFault| UpstreamFailure {
        server: server.clone(),
        fault,
    };
    let feed = feed::open(ports, permit, place.server.clone(), Era::Modern, &uris)
        .await
        .map_err(failed)?;
    if !feed.honoured.iter().any(|honoured| honoured == uri) {
        return Err(Rejection::NotSubscribable.into());
    }
    if !ports.keep_subscription(server, uri) {
        return Err(Internal::SessionState.into());
    }
    hold(ports, &feeds, &slot, server, Some(feed));
    Ok(())
}

/// Records the request and answers it.
fn done<P: Ports>(
    ports: &P,
    caller: &Caller,
    request: &Request<'_>,
    deed: &Deed,
) -> Reply<Original<P>> {
    let body = reply::result(request.id.text, b"{}");
    let ending = Ending {
        kind: Kind::Outcome,
        status: Status::Ok,
        reason: None,
        reply_bytes: body.len() as u64,
    };
    ports.queue(caller.event(ports, deed, ending));
    Reply::json(body)
}

/// What is subscribed at one server.
fn subscribed<P: Ports>(ports: &P, server: &str) -> Vec<String> {
    ports
        .subscriptions()
        .into_iter()
        .filter(|(of, _)| of == server)
        .map(|(_, uri)| uri)
        .collect()
}

/// Reads a stream in the background in place of the one before it. Without one it is opened from the rows.
fn hold<P: Ports>(ports: &P, feeds: &Rc<Feeds>, slot: &Rc<Slot>, server: &str, feed: Option<Feed>) {
    let (abort, registration) = AbortHandle::new_pair();
    let is_alive = Rc::new(Cell::new(true));
    let reader = Reader {
        ports: ports.clone(),
        feeds: feeds.clone(),
        slot: slot.clone(),
        server: server.to_owned(),
    };
    let task = Abortable::new(reader.run(feed), registration);
    let ended = is_alive.clone();
    ports.spawn(Box::pin(async move {
        let _ = task.await;
        ended.set(false);
    }));
    *slot.held.borrow_mut() = Some(Held { abort, is_alive });
}

/// Reads one server's stream.
struct Reader<P: Ports> {
    ports: P,
    feeds: Rc<Feeds>,
    slot: Rc<Slot>,
    server: String,
}

/// How the reading of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It broke off.
    Broken,
    /// Nobody may or wants to hear it any more.
    Over,
}

impl<P: Ports> Reader<P> {
    /// Until the subscriptions are over, or the server is. The client's next request begins anew.
    async fn run(self, mut feed: Option<Feed>) {
        let mut retry = Retry::default();
        let mut pause_ms = 0;
        loop {
            let open = match feed.take() {
                Some(open) => Some(open),
                None => {
                    self.ports.sleep_ms(pause_ms).await;
                    match self.open().await {
                        Ok(open) => open,
                        Err(Ended::Over) => return,
                        Err(Ended::Broken) => None,
                    }
                }
            };
            if let Some(open) = open {
                retry.opened(self.ports.now_ms());
                if self.read(open).await == Ended::Over {
                    return;
                }
            }
            match retry.pause_ms(self.ports.now_ms()) {
                Some(ms) => pause_ms = ms,
                None => return,
            }
        }
    }

    /// Opens the stream from the rows.
    async fn open(&self) -> Result<Option<Feed>, Ended> {
        let _turn = self.slot.turn.lock().await;
        let uris = subscribed(&self.ports, &self.server);
        let caller = self.caller().await.ok_or(Ended::Over)?;
        let (place, permit) = permit(&caller, &self.server).ok_or(Ended::Over)?;
        if uris.is_empty() {
            return Err(Ended::Over);
        }
        let server = place.server.clone();
        let opened = feed::open(&self.ports, permit, server, Era::Modern, &uris).await;
        let Ok(feed) = opened else {
            return Err(Ended::Broken);
        };
        if feed.honoured.is_empty() {
            return Err(Ended::Broken);
        }
        for uri in &feed.honoured {
            self.tell(uri);
        }
        Ok(Some(feed))
    }

    /// Passes on what is pushed.
    async fn read(&self, mut feed: Feed) -> Ended {
        let ports = &self.ports;
        let mut looked_ms = ports.now_ms();
        let mut heard_ms = looked_ms;
        loop {
            let since_ms = ports.now_ms().saturating_sub(looked_ms);
            let left_ms = EPOCH_AGE_MAX_MS.saturating_sub(since_ms);
            if left_ms == 0 {
                looked_ms = ports.now_ms();
                if ports.is_client_listening() {
                    heard_ms = looked_ms;
                }
                // A stream for nobody costs as much as one for somebody.
                let is_alone = looked_ms.saturating_sub(heard_ms) > LISTEN_MS_MAX;
                if is_alone || !self.is_allowed().await {
                    return Ended::Over;
                }
                continue;
            }
            let tick = std::pin::pin!(ports.sleep_ms(left_ms));
            match select(feed.pushed.next(), tick).await {
                Either::Left((Some(Pushed::Changed), _)) => ports.outdate(&self.server).await,
                Either::Left((Some(Pushed::Updated(uri)), _)) => {
                    let held = subscribed(ports, &self.server);
                    if held.iter().any(|held| covers(held, &uri)) {
                        self.tell(&uri);
                    }
                }
                Either::Left((None, _)) => return Ended::Broken,
                Either::Right(_) => {}
            }
        }
    }

    /// The session's caller under the rules in force now.
    async fn caller(&self) -> Option<Rc<Caller>> {
        let caller = self.feeds.caller.borrow().clone()?;
        let still = still_admitted(&self.ports, &caller, self.ports.now_ms()).await?;
        let off = still.toggled_off(&self.ports).await;
        (!off.contains(&self.server)).then_some(still)
    }

    async fn is_allowed(&self) -> bool {
        let caller = self.caller().await;
        caller.is_some_and(|caller| permit(&caller, &self.server).is_some())
    }

    fn tell(&self, uri: &str) {
        let mut message =
            b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{\"uri\":"
                .to_vec();
        escape_into(&mut message, uri);
        message.extend_from_slice(b"}}");
        self.ports.tell_client(&message);
    }
}
