//! Streams that carry changes: `subscriptions/listen`.
//!
//! That a listing changed is seen in the snapshots, which every isolate reads again when another one stored them. What a
//! server pushes about a resource is passed on at once.

use std::collections::VecDeque;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use serde_json::{Value, json};

use super::caller::{Caller, Deed, Ending};
use super::keeper::Keeper;
use super::ports::{Original, Ports};
use super::pushes::{Pushes, Told};
use super::reply::{Outgoing, Reply};
use super::task_pushes::{self, TaskEvent, TaskPushes};
use super::watch::{Watch, change_method, still_admitted};
use crate::audit::{Kind, Status};
use crate::catalog::snapshot::Listing;
use crate::error::{Internal, PortalError, Rejection};
use crate::limits::{
    EPOCH_AGE_MAX_MS, KEEP_ALIVE_MS, LISTEN_MS_MAX, LISTEN_STREAMS_MAX, NAME_BYTES_MAX,
    SUBSCRIPTIONS_MAX,
};
use crate::mcp::{Method, Request};

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

    fn wants_listings(&self) -> bool {
        self.tools || self.prompts || self.resources
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

/// Answers `subscriptions/listen` (MCP 2026-07-28, basic/patterns/subscriptions).
///
/// # Errors
/// A filter that does not fit, or an audit trail without room.
pub async fn listen<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let mut deed = Deed {
        method: Method::Listen.as_str().to_owned(),
        ..Deed::default()
    };
    let parsed = if ports.has_room() {
        Filter::parse(request)
            .and_then(|filter| Ok((filter, task_pushes::wanted(caller, request)?)))
    } else {
        Err(Internal::AuditAway.into())
    };
    let (mut filter, tasks) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            caller.refuse(ports, &deed, error.label());
            return Err(error);
        }
    };
    let ending = |status| Ending {
        kind: Kind::Outcome,
        status,
        reason: None,
        reply_bytes: 0,
    };
    // Whoever leaves while servers are asked leaves a row all the same.
    let keeper = Keeper::new(ports, caller.event(ports, &deed, ending(Status::Cancelled)));
    let off = caller.toggled_off(ports).await;
    let (pushes, honoured) = Pushes::begin(ports, caller, &off, &filter.uris).await;
    filter.uris = honoured;
    let room = LISTEN_STREAMS_MAX.saturating_sub(pushes.servers().count());
    let tasks = TaskPushes::begin(ports, caller, tasks, room).await;
    let watch = if filter.wants_listings() {
        Some(Watch::begin(ports, caller, &off).await)
    } else {
        None
    };
    keeper.let_go();
    name_subscribed(&mut deed, &filter, &pushes);
    ports.queue(caller.event(ports, &deed, ending(Status::Ok)));
    let acknowledged = json!({
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {
            "_meta": { "io.modelcontextprotocol/subscriptionId": raw_id(request) },
            "notifications": tasks.acknowledged(filter.to_json()),
        },
    });
    let now_ms = ports.now_ms();
    let listener = Listener {
        ports: ports.clone(),
        caller: caller.clone(),
        subscription: raw_id(request),
        watch,
        filter,
        pushes,
        tasks,
        pending: VecDeque::from([Outgoing::Message(acknowledged.to_string().into_bytes())]),
        began_ms: now_ms,
        spoke_ms: now_ms,
        looked_ms: now_ms,
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

/// The row names the resources that are honoured, and the server where there is one.
fn name_subscribed(deed: &mut Deed, filter: &Filter, pushes: &Pushes) {
    if filter.uris.is_empty() {
        return;
    }
    let uris = filter.uris.join(" ");
    deed.target = Some(uris.chars().take(NAME_BYTES_MAX).collect());
    let mut servers = pushes.servers();
    if let (Some(server), None) = (servers.next(), servers.next()) {
        deed.server = Some(server.to_owned());
    }
}

fn raw_id(request: &Request<'_>) -> Value {
    serde_json::from_str(request.id.text).unwrap_or_default()
}

/// What a listener waits for.
enum Heard {
    Told(Told),
    Task(TaskEvent),
}

/// One open subscription.
struct Listener<P: Ports> {
    ports: P,
    caller: Rc<Caller>,
    subscription: Value,
    /// Nothing where no listing is listened to.
    watch: Option<Watch>,
    filter: Filter,
    pushes: Pushes,
    tasks: TaskPushes,
    pending: VecDeque<Outgoing>,
    began_ms: u64,
    spoke_ms: u64,
    looked_ms: u64,
    has_ended: bool,
}

impl<P: Ports> Listener<P> {
    async fn next(&mut self) -> Option<Outgoing> {
        loop {
            if let Some(message) = self.pending.pop_front() {
                self.spoke_ms = self.ports.now_ms();
                return Some(message);
            }
            if self.has_ended {
                return None;
            }
            match self.wait().await {
                Some(Heard::Told(told)) => self.pass_on(told).await,
                Some(Heard::Task(event)) => self.pass_on_task(event).await,
                None => self.tick().await,
            }
        }
    }

    /// Waits for a push, or until it is time to look: on its own timer, however much is pushed.
    async fn wait(&mut self) -> Option<Heard> {
        let now_ms = self.ports.now_ms();
        let pause_ms = self
            .watch
            .as_ref()
            .map_or(EPOCH_AGE_MAX_MS, |watch| watch.pause_ms(now_ms));
        let left_ms = pause_ms.saturating_sub(now_ms.saturating_sub(self.looked_ms));
        if left_ms == 0 {
            return None;
        }
        let tick = std::pin::pin!(self.ports.sleep_ms(left_ms));
        let (pushes, tasks) = (&mut self.pushes, &mut self.tasks);
        if pushes.is_empty() && tasks.is_empty() {
            tick.await;
            return None;
        }
        // Where there are none of a kind, none of it ever come.
        let told = async {
            if pushes.is_empty() {
                std::future::pending().await
            } else {
                pushes
                    .next(&self.ports, &self.caller)
                    .await
                    .map(Heard::Told)
            }
        };
        let task = async {
            if tasks.is_empty() {
                std::future::pending().await
            } else {
                tasks.next().await.map(Heard::Task)
            }
        };
        let (told, task) = (std::pin::pin!(told), std::pin::pin!(task));
        match select(select(told, task), tick).await {
            Either::Left((heard, _)) => heard.factor_first().0,
            Either::Right(_) => None,
        }
    }

    async fn pass_on_task(&mut self, event: TaskEvent) {
        let (ports, caller, subscription) = (&self.ports, &self.caller, &self.subscription);
        match event {
            TaskEvent::Told(server, message) => {
                let tasks = &mut self.tasks;
                let told = tasks.take(ports, caller, subscription, &server, &message);
                self.pending.extend(told.await.map(Outgoing::Message));
            }
            // Who hears nothing of a task waits for it in vain: they may listen anew, or ask.
            TaskEvent::Cut(server) if self.tasks.waits_for(&server) => self.end(),
            TaskEvent::Cut(_) => {}
        }
    }

    async fn pass_on(&mut self, told: Told) {
        match told {
            // The next look sees whether that changes anything for this caller.
            Told::Changed(server) => self.ports.outdate(&server).await,
            Told::Updated(uris) => {
                for uri in uris {
                    self.notify("notifications/resources/updated", json!({ "uri": uri }));
                }
            }
            Told::Lost => self.end(),
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
        let off = self.caller.toggled_off(&self.ports).await;
        if !self.pushes.are_allowed(&self.caller, &off) {
            // What was acknowledged does not hold any more; the client may listen anew to what does.
            self.end();
            return;
        }
        let changed = match &mut self.watch {
            Some(watch) => watch.changed(&self.ports, &self.caller, &off).await,
            None => Vec::new(),
        };
        for listing in changed {
            if self.filter.wants(listing) {
                self.notify(change_method(listing), json!({}));
            }
        }
        if self.pending.is_empty() && now_ms.saturating_sub(self.spoke_ms) >= KEEP_ALIVE_MS {
            self.pending.push_back(Outgoing::KeepAlive);
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
            .push_back(Outgoing::Message(result.to_string().into_bytes()));
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
            .push_back(Outgoing::Message(message.to_string().into_bytes()));
    }
}
