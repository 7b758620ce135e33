//! Streams that carry changes: `subscriptions/listen`, and the list changes of a legacy session's stream.
//!
//! That a listing changed is seen in the snapshots, which every isolate reads again when another one stored them. What a
//! modern server pushes is passed on at once.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use serde_json::{Value, json};

use super::caller::{Caller, Deed, Ending};
use super::ports::{Original, Ports};
use super::pushes::{Pushed, Sources, sources};
use super::reply::{Outgoing, Reply};
use super::task_pushes::{self, TaskPushes};
use super::watch::{Watch, change_method, still_admitted};
use crate::audit::{Kind, Status};
use crate::catalog::snapshot::Listing;
use crate::error::{PortalError, Rejection};
use crate::limits::{EPOCH_AGE_MAX_MS, KEEP_ALIVE_MS, LISTEN_MS_MAX, SUBSCRIPTIONS_MAX};
use crate::mcp::{Method, Request};

/// What a client wants to hear.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) tools: bool,
    pub(super) prompts: bool,
    pub(super) resources: bool,
    pub(super) uris: Vec<String>,
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

    pub(super) fn to_json(&self) -> Value {
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
    let parsed = Filter::parse(request)
        .and_then(|filter| Ok((filter, task_pushes::wanted(caller, request)?)));
    let (mut filter, tasks) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            caller.refuse(ports, &deed, error.label());
            return Err(error);
        }
    };
    let mut sources = sources(ports, caller, &mut filter).await;
    let (tasks, task_sources) = TaskPushes::begin(ports, caller, tasks).await;
    sources.extend(task_sources);
    let mut honoured = filter.to_json();
    tasks.acknowledge(&mut honoured);
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
            "notifications": honoured,
        },
    });
    let listener = Listener {
        ports: ports.clone(),
        caller: caller.clone(),
        subscription: raw_id(request),
        watch: Watch::begin(ports, caller).await,
        filter,
        tasks,
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

/// One open subscription.
struct Listener<P: Ports> {
    ports: P,
    caller: Rc<Caller>,
    subscription: Value,
    watch: Watch,
    filter: Filter,
    tasks: TaskPushes,
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
            Pushed::Task(message) => {
                let (ports, caller) = (&self.ports, &self.caller);
                let told = self
                    .tasks
                    .take(ports, caller, &self.subscription, server, &message)
                    .await;
                self.pending.extend(told.map(Outgoing::Message));
            }
            // Who hears nothing of a task waits for it in vain: they may listen anew, or ask.
            Pushed::TasksCut if self.tasks.waits_for(server) => self.end(),
            Pushed::TasksCut => {}
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
