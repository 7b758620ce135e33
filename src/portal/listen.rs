//! Streams that carry changes: `subscriptions/listen`, and the list changes of a legacy session's stream.
//!
//! That a listing changed is seen in the snapshots, which every isolate reads again when another one stored them. What a
//! modern server pushes is passed on at once.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::{LocalBoxStream, SelectAll};
use serde_json::{Value, json};

use super::caller::{Caller, Deed, Ending};
use super::list::offer;
use super::ports::{BodyKind, Original, Ports, UpstreamBody as _};
use super::reply::{Outgoing, Reply};
use crate::audit::{Kind, Status};
use crate::catalog::resolve;
use crate::catalog::snapshot::Listing;
use crate::config::PortalServer;
use crate::error::{PortalError, Rejection};
use crate::limits::{
    EPOCH_AGE_MAX_MS, FAN_OUT_MAX, KEEP_ALIVE_MS, LISTEN_MS_MAX, SUBSCRIPTIONS_MAX,
    UPSTREAM_EVENT_BYTES_MAX,
};
use crate::mcp::event_stream::EventReader;
use crate::mcp::reply::Glance;
use crate::mcp::{Era, Method, Request};
use crate::policy::{Ask, admit, decide};
use crate::upstream::body::own_request;
use crate::upstream::modern_request;

/// What a client wants to hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: Vec<String>,
}

impl Filter {
    fn parse(request: &Request<'_>) -> Result<Self, PortalError> {
        let bad = |text: &'static str| PortalError::from(Rejection::BadParams(text.into()));
        let raw = request
            .params
            .notifications
            .ok_or_else(|| bad("Invalid params: notifications is missing"))?;
        let value: Value = serde_json::from_str(raw.text).unwrap_or_default();
        let flag = |key: &str| match value.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(bad("Invalid params: a *ListChanged filter is a boolean")),
        };
        let uris = match value.get("resourceSubscriptions") {
            None => Vec::new(),
            Some(list) => serde_json::from_value::<Vec<String>>(list.clone())
                .map_err(|_| bad("Invalid params: resourceSubscriptions is a list of URIs"))?,
        };
        if uris.len() > SUBSCRIPTIONS_MAX {
            return Err(Rejection::TooMany("resource subscriptions").into());
        }
        Ok(Self {
            tools: flag("toolsListChanged")?,
            prompts: flag("promptsListChanged")?,
            resources: flag("resourcesListChanged")?,
            uris,
        })
    }

    fn wants(&self, listing: Listing) -> bool {
        match listing {
            Listing::Tools => self.tools,
            Listing::Prompts => self.prompts,
            Listing::Resources | Listing::Templates => self.resources,
        }
    }

    fn to_json(&self) -> Value {
        let mut map = serde_json::Map::new();
        for (key, wanted) in [
            ("toolsListChanged", self.tools),
            ("promptsListChanged", self.prompts),
            ("resourcesListChanged", self.resources),
        ] {
            if wanted {
                map.insert(key.into(), true.into());
            }
        }
        if !self.uris.is_empty() {
            map.insert("resourceSubscriptions".into(), json!(self.uris));
        }
        Value::Object(map)
    }
}

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

/// The changes of listings that modern servers push, for a client that listens in a legacy session.
pub struct Pushes {
    sources: Sources,
}

impl Pushes {
    /// Opens the servers' streams.
    pub async fn begin<P: Ports>(ports: &P, caller: &Rc<Caller>) -> Self {
        let mut filter = Filter {
            tools: true,
            prompts: true,
            resources: true,
            uris: Vec::new(),
        };
        Self {
            sources: sources(ports, caller, &mut filter).await,
        }
    }

    /// Waits for the next change, at most so long: the notification's method, once the listing is marked as outdated.
    pub async fn next<P: Ports>(&mut self, ports: &P, wait_ms: u64) -> Option<&'static str> {
        let alarm = std::pin::pin!(ports.sleep_ms(wait_ms));
        if self.sources.is_empty() {
            alarm.await;
            return None;
        }
        match select(self.sources.next(), alarm).await {
            Either::Left((Some((server, Pushed::Changed(method))), _)) => {
                ports.outdate(&server).await;
                Some(method)
            }
            _ => None,
        }
    }
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

/// Answers `subscriptions/listen` (MCP 2026-07-28, basic/patterns/subscriptions).
///
/// # Errors
/// A filter that does not fit.
pub async fn listen<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let deed = Deed {
        method: Method::Listen.as_str().to_owned(),
        ..Deed::default()
    };
    let mut filter = match Filter::parse(request) {
        Ok(filter) => filter,
        Err(error) => {
            caller.refuse(ports, &deed, error.label());
            return Err(error);
        }
    };
    let sources = sources(ports, caller, &mut filter).await;
    let ending = Ending {
        kind: Kind::Outcome,
        status: Status::Ok,
        reason: None,
        reply_bytes: 0,
    };
    ports.queue(caller.event(ports, &deed, ending));
    let acknowledged = json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {
            "_meta": { "io.modelcontextprotocol/subscriptionId": raw_id(request) },
            "notifications": filter.to_json(),
        },
    });
    let listener = Listener {
        ports: ports.clone(),
        caller: caller.clone(),
        subscription: raw_id(request),
        watch: Watch::begin(ports, caller).await,
        filter,
        sources,
        pending: vec![Outgoing::Message(acknowledged.to_string().into_bytes())],
        began_ms: ports.now_ms(),
        spoke_ms: ports.now_ms(),
        looked_ms: ports.now_ms(),
        has_ended: false,
    };
    let events = futures::stream::unfold(listener, |mut listener| async move {
        let next = listener.next().await?;
        Some((next, listener))
    });
    let mut reply = Reply::events(events.boxed_local());
    reply.headers.push(("X-Accel-Buffering", "no".to_owned()));
    Ok(reply)
}

fn raw_id(request: &Request<'_>) -> Value {
    serde_json::from_str(request.id.text).unwrap_or_default()
}

/// What a server pushed.
enum Pushed {
    Changed(&'static str),
    Updated(String),
}

type Sources = SelectAll<LocalBoxStream<'static, (String, Pushed)>>;

/// Opens the servers' own streams: first those whose resources are wanted, then as many others as connections allow.
/// Resources that nobody may push are taken out of the filter, so that the acknowledgment is true.
async fn sources<P: Ports>(ports: &P, caller: &Rc<Caller>, filter: &mut Filter) -> Sources {
    let off = caller.toggled_off(ports).await;
    let is_off = |server: &str| off.contains(server);
    let mut wanted: Vec<(usize, Vec<String>)> = Vec::new();
    let mut honoured = Vec::new();
    for uri in &filter.uris {
        let found = resolve::by_uri(
            ports,
            &caller.portal,
            &caller.principal.subject,
            uri,
            &is_off,
        )
        .await;
        let Ok(target) = found else { continue };
        if !target.snapshot.facts.modern {
            continue;
        }
        honoured.push(uri.clone());
        match wanted
            .iter_mut()
            .find(|(index, _)| *index == target.server_index)
        {
            Some((_, uris)) => uris.push(uri.clone()),
            None => wanted.push((target.server_index, vec![uri.clone()])),
        }
    }
    filter.uris = honoured;
    if filter.tools || filter.prompts || filter.resources {
        let offer = offer(ports, caller).await;
        for (place, snapshot) in &offer.parts {
            let index = caller
                .portal
                .servers
                .iter()
                .position(|other| other.server.id == place.server.id);
            let Some(index) = index.filter(|_| snapshot.facts.modern) else {
                continue;
            };
            if wanted.len() < FAN_OUT_MAX && !wanted.iter().any(|(other, _)| *other == index) {
                wanted.push((index, Vec::new()));
            }
        }
    }
    let mut sources = SelectAll::new();
    for (index, uris) in wanted.into_iter().take(FAN_OUT_MAX) {
        let Some(place) = caller.portal.servers.get(index) else {
            continue;
        };
        if let Some(source) = source(ports, caller, place, filter, uris).await {
            sources.push(source);
        }
    }
    sources
}

async fn source<P: Ports>(
    ports: &P,
    caller: &Caller,
    place: &PortalServer,
    filter: &Filter,
    uris: Vec<String>,
) -> Option<LocalBoxStream<'static, (String, Pushed)>> {
    let permit = decide(&caller.admission, &caller.portal, place, Ask::Read).ok()?;
    let own = Filter {
        uris,
        ..filter.clone()
    };
    let members = format!("\"notifications\":{}", own.to_json());
    let body = own_request(
        "portcullis-listen",
        "subscriptions/listen",
        &members,
        Era::Modern,
    );
    let mut request = modern_request(
        &place.server,
        "subscriptions/listen",
        None,
        Vec::new(),
        body,
    );
    request.timeout_ms = LISTEN_MS_MAX;
    let reply = ports.send(&permit, &place.server, request).await.ok()?;
    if reply.status != 200 || reply.kind != BodyKind::Events {
        return None;
    }
    let state = (
        reply.body,
        EventReader::new(UPSTREAM_EVENT_BYTES_MAX),
        place.server.id.clone(),
    );
    let pushed = futures::stream::unfold(state, |(mut body, mut reader, server)| async move {
        loop {
            while let Some(event) = reader.next_event() {
                if let Some(pushed) = pushed(event.data.as_bytes()) {
                    return Some(((server.clone(), pushed), (body, reader, server)));
                }
            }
            let chunk = body.chunk().await?.ok()?;
            reader.push(&chunk).ok()?;
        }
    });
    Some(pushed.boxed_local())
}

fn pushed(message: &[u8]) -> Option<Pushed> {
    let glance = Glance::at(message).ok()?;
    match glance.method_name()? {
        "notifications/tools/list_changed" => {
            Some(Pushed::Changed("notifications/tools/list_changed"))
        }
        "notifications/prompts/list_changed" => {
            Some(Pushed::Changed("notifications/prompts/list_changed"))
        }
        "notifications/resources/list_changed" => {
            Some(Pushed::Changed("notifications/resources/list_changed"))
        }
        "notifications/resources/updated" => {
            let params: Value = serde_json::from_str(glance.params?.text).ok()?;
            Some(Pushed::Updated(params.get("uri")?.as_str()?.to_owned()))
        }
        _ => None,
    }
}

/// One open subscription.
struct Listener<P: Ports> {
    ports: P,
    caller: Rc<Caller>,
    subscription: Value,
    watch: Watch,
    filter: Filter,
    sources: Sources,
    pending: Vec<Outgoing>,
    began_ms: u64,
    spoke_ms: u64,
    looked_ms: u64,
    has_ended: bool,
}

impl<P: Ports> Listener<P> {
    async fn next(&mut self) -> Option<Outgoing> {
        loop {
            if !self.pending.is_empty() {
                self.spoke_ms = self.ports.now_ms();
                return Some(self.pending.remove(0));
            }
            if self.has_ended {
                return None;
            }
            // On its own timer, however much is pushed.
            let since_ms = self.ports.now_ms().saturating_sub(self.looked_ms);
            let left_ms = EPOCH_AGE_MAX_MS.saturating_sub(since_ms);
            let pushed = if left_ms == 0 {
                None
            } else {
                let tick = std::pin::pin!(self.ports.sleep_ms(left_ms));
                if self.sources.is_empty() {
                    tick.await;
                    None
                } else {
                    match select(self.sources.next(), tick).await {
                        Either::Left((pushed, _)) => pushed,
                        Either::Right(_) => None,
                    }
                }
            };
            match pushed {
                Some((server, pushed)) => self.pass_on(&server, pushed).await,
                None => self.tick().await,
            }
        }
    }

    async fn pass_on(&mut self, server: &str, pushed: Pushed) {
        let place = self.caller.portal.server(server);
        if place.is_none_or(|place| !place.server.enabled) {
            return;
        }
        match pushed {
            Pushed::Changed(method) => {
                self.ports.outdate(server).await;
                self.watch.forget();
                let wanted = Listing::ALL
                    .into_iter()
                    .any(|l| change_method(l) == method && self.filter.wants(l));
                if wanted {
                    self.notify(method, json!({}));
                }
            }
            Pushed::Updated(uri) => {
                if self.filter.uris.contains(&uri) {
                    self.notify("notifications/resources/updated", json!({ "uri": uri }));
                }
            }
        }
    }

    /// Looks again at the rules and the listings, and keeps the connection open.
    async fn tick(&mut self) {
        let now_ms = self.ports.now_ms();
        self.looked_ms = now_ms;
        if !self.may_go_on(now_ms).await {
            self.end();
            return;
        }
        for listing in self.watch.changed(&self.ports, &self.caller).await {
            if self.filter.wants(listing) {
                self.notify(change_method(listing), json!({}));
            }
        }
        if self.pending.is_empty() && now_ms.saturating_sub(self.spoke_ms) >= KEEP_ALIVE_MS {
            self.pending.push(Outgoing::KeepAlive);
        }
    }

    /// Whether the principal may still be here under the rules in force now.
    async fn may_go_on(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.began_ms) > LISTEN_MS_MAX {
            return false;
        }
        match still_admitted(&self.ports, &self.caller, now_ms).await {
            Some(caller) => {
                self.caller = caller;
                true
            }
            None => false,
        }
    }

    fn end(&mut self) {
        self.has_ended = true;
        let result = json!({
            "jsonrpc": "2.0",
            "id": self.subscription,
            "result": {
                "resultType": "complete",
                "_meta": { "io.modelcontextprotocol/subscriptionId": self.subscription },
            },
        });
        self.pending
            .push(Outgoing::Message(result.to_string().into_bytes()));
    }

    fn notify(&mut self, method: &str, mut params: Value) {
        if let Some(params) = params.as_object_mut() {
            params.insert(
                "_meta".into(),
                json!({ "io.modelcontextprotocol/subscriptionId": self.subscription }),
            );
        }
        let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.pending
            .push(Outgoing::Message(message.to_string().into_bytes()));
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
