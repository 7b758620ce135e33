//! What servers push about tasks to a client that listens (SEP-2663, "Task Status Notifications").
//!
//! The servers' own streams are opened for the tasks of this principal alone, under the servers' own ids. Each push is
//! decided anew before it is passed on: it may carry the result of a tool that was denied meanwhile.

use std::future::ready;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, join_all, select};
use futures::stream::{LocalBoxStream, SelectAll};
use serde_json::{Value, json};

use super::caller::{Caller, Deed, Ending};
use super::feed::messages;
use super::inspect::Toward;
use super::ports::{BodyKind, ClientFacts, Ports};
use super::tasks::{self, Handle, quoted};
use crate::audit::{Kind, Status};
use crate::config::{Inspect, PortalServer};
use crate::error::{Internal, PortalError, Rejection};
use crate::limits::{
    CLIENT_EVENT_BYTES_MAX, LISTEN_MS_MAX, REPLY_DEPTH_MAX, SUBSCRIBE_MS_MAX, SUBSCRIPTIONS_MAX,
};
use crate::mcp::json::{Kind as JsonKind, Malformed, Raw, Reader, splice};
use crate::mcp::reply::{Direction, Glance};
use crate::mcp::{Era, Method, Request, task};
use crate::policy::{Ask, Permit, decide};
use crate::upstream::body::own_request_as;
use crate::upstream::modern_request;

const LISTEN_ID: &str = "portcullis-listen-tasks";
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
const TOLD: &str = "notifications/tasks";

/// What a server's stream says.
pub(super) enum TaskEvent {
    /// A message of the server, as it came.
    Told(String, Vec<u8>),
    /// Nothing more comes from the server.
    Cut(String),
}

type Source = LocalBoxStream<'static, TaskEvent>;

/// The tasks a client hears of, and the streams that tell.
#[derive(Default)]
pub(super) struct TaskPushes {
    watched: Vec<Watched>,
    events: SelectAll<Source>,
}

/// One of them.
struct Watched {
    handle: Handle,
    /// It ended, or may not be heard of any more.
    is_over: bool,
}

/// The tasks a request wants to hear of, by the ids the client knows.
///
/// # Errors
/// They are no list of ids, too many, or the client does not declare the extension.
pub(super) fn wanted(caller: &Caller, request: &Request<'_>) -> Result<Vec<String>, PortalError> {
    let Some(raw) = request.params.notifications else {
        return Ok(Vec::new());
    };
    let value: Value = serde_json::from_str(raw.text).unwrap_or_default();
    let Some(list) = value.get("taskIds") else {
        return Ok(Vec::new());
    };
    if !tasks::declares(caller, request) {
        return Err(Rejection::MissingExtension(task::EXTENSION).into());
    }
    let mut ids = serde_json::from_value::<Vec<String>>(list.clone()).map_err(|_| {
        Rejection::BadParams("Invalid params: taskIds is a list of task ids".into())
    })?;
    if ids.len() > SUBSCRIPTIONS_MAX {
        return Err(Rejection::TooMany("task subscriptions").into());
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// A server to listen at.
struct Listening<'c> {
    place: &'c PortalServer,
    permit: Permit,
    handles: Vec<Handle>,
}

impl TaskPushes {
    /// Opens the servers' streams. What is not this caller's is recorded and left out; so is what a server does not say
    /// it will tell, so that the acknowledgment is true, and what is at more servers than connections allow.
    pub(super) async fn begin<P: Ports>(
        ports: &P,
        caller: &Rc<Caller>,
        wanted: Vec<String>,
        servers_max: usize,
    ) -> Self {
        let mut listening: Vec<Listening<'_>> = Vec::new();
        // What is refused is looked for once: a tool that is gone is asked for at its server.
        let mut refused: Vec<(String, String)> = Vec::new();
        for sealed in wanted {
            let mut deed = Deed {
                method: Method::Listen.as_str().to_owned(),
                ..Deed::default()
            };
            let Some(handle) = Handle::open(ports, caller, &sealed) else {
                leave_out(ports, caller, &deed, &Rejection::UnknownTask.into());
                continue;
            };
            let tool = (handle.server.clone(), handle.tool.clone());
            if refused.contains(&tool) {
                continue;
            }
            let permit = match judge(ports, caller, &handle, &mut deed).await {
                Ok(permit) => permit,
                Err(error) => {
                    leave_out(ports, caller, &deed, &error);
                    refused.push(tool);
                    continue;
                }
            };
            let same = |at: &&mut Listening<'_>| at.place.server.id == handle.server;
            if let Some(at) = listening.iter_mut().find(same) {
                at.handles.push(handle);
            } else if let (Some(place), true) = (
                caller.portal.server(&handle.server),
                listening.len() < servers_max,
            ) {
                listening.push(Listening {
                    place,
                    permit,
                    handles: vec![handle],
                });
            }
        }
        let opening = listening.into_iter().map(|at| open(ports, at));
        let mut pushes = Self::default();
        for (handles, source) in join_all(opening).await.into_iter().flatten() {
            pushes
                .watched
                .extend(handles.into_iter().map(|handle| Watched {
                    handle,
                    is_over: false,
                }));
            pushes.events.push(source);
        }
        pushes
    }

    /// Whether there is nothing to wait for.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Waits for what comes next. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Option<TaskEvent> {
        self.events.next().await
    }

    /// An acknowledgment's filter with what is honoured of tasks.
    pub(super) fn acknowledged(&self, mut filter: Value) -> Value {
        let ids: Vec<&str> = self
            .watched
            .iter()
            .map(|watched| watched.handle.sealed.as_str())
            .collect();
        if let (false, Some(filter)) = (ids.is_empty(), filter.as_object_mut()) {
            filter.insert("taskIds".into(), json!(ids));
        }
        filter
    }

    /// Whether a task of a server goes on, of which nothing would be heard without its stream.
    pub(super) fn waits_for(&self, server: &str) -> bool {
        let waits = |watched: &Watched| !watched.is_over && watched.handle.server == server;
        self.watched.iter().any(waits)
    }

    /// Makes the client's of what a server pushed; nothing where it is not for this client.
    pub(super) async fn take<P: Ports>(
        &mut self,
        ports: &P,
        caller: &Rc<Caller>,
        subscription: &Value,
        server: &str,
        message: &[u8],
    ) -> Option<Vec<u8>> {
        let told = Told::at(message)?;
        let id: String = serde_json::from_str(told.task_id?.text).ok()?;
        let is_it = |watched: &&mut Watched| {
            watched.handle.id == id && watched.handle.server == server && !watched.is_over
        };
        let watched = self.watched.iter_mut().find(is_it)?;
        let mut deed = Deed {
            method: TOLD.to_owned(),
            ..Deed::default()
        };
        if let Err(error) = judge(ports, caller, &watched.handle, &mut deed).await {
            // A server that cannot be asked right now may say more later.
            if matches!(error, PortalError::Rejected(_)) {
                watched.is_over = true;
                leave_out(ports, caller, &deed, &error);
            }
            return None;
        }
        let message = told.in_clients_words(message, &watched.handle.sealed, subscription)?;
        if message.len() > CLIENT_EVENT_BYTES_MAX {
            return None;
        }
        if let Some(status) = told.end() {
            watched.is_over = true;
            if caller.portal.inspect == Inspect::Log {
                deed.seen
                    .get_or_insert_default()
                    .look(Toward::Client, &message);
            }
            let ending = Ending {
                kind: Kind::Outcome,
                status,
                reason: None,
                reply_bytes: message.len() as u64,
            };
            ports.queue(caller.event(ports, &deed, ending));
        }
        Some(message)
    }
}

/// Records that nothing is told of a task, and why.
fn leave_out<P: Ports>(ports: &P, caller: &Caller, deed: &Deed, error: &PortalError) {
    let PortalError::Upstream(_) = error else {
        return caller.refuse(ports, deed, error.label());
    };
    let ending = Ending {
        kind: Kind::Outcome,
        status: Status::UpstreamFailed,
        reason: Some(error.label().to_owned()),
        reply_bytes: 0,
    };
    ports.queue(caller.event(ports, deed, ending));
}

/// Whether the caller may hear of a task, under the rules in force.
async fn judge<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    handle: &Handle,
    deed: &mut Deed,
) -> Result<Permit, PortalError> {
    let off = caller.toggled_off(ports).await;
    let target = tasks::target(ports, caller, handle, &off, deed).await?;
    let (Some(place), Some(tool)) = (target.server(&caller.portal), target.tool()) else {
        return Err(Internal::Platform.into());
    };
    let ask = Ask::Poll {
        name: &tool.key,
        read_only: tool.read_only,
    };
    let decided = decide(&caller.admission, &caller.portal, place, ask);
    let rule = match &decided {
        Ok(permit) => permit.rule().to_owned(),
        Err(denial) => denial.rule.clone(),
    };
    deed.rule = Some(rule);
    decided.map_err(|_| Rejection::UnknownTask.into())
}

/// Opens a server's stream and waits a short while for its word on which tasks it will tell of.
async fn open<P: Ports>(ports: &P, listening: Listening<'_>) -> Option<(Vec<Handle>, Source)> {
    let work = std::pin::pin!(acknowledged(ports, listening));
    let alarm = std::pin::pin!(ports.sleep_ms(SUBSCRIBE_MS_MAX));
    match select(work, alarm).await {
        Either::Left((opened, _)) => opened,
        Either::Right(_) => None,
    }
}

async fn acknowledged<P: Ports>(
    ports: &P,
    listening: Listening<'_>,
) -> Option<(Vec<Handle>, Source)> {
    let Listening {
        place,
        permit,
        mut handles,
    } = listening;
    let ids: Vec<&str> = handles.iter().map(|handle| handle.id.as_str()).collect();
    let client = ClientFacts {
        capabilities: task::CAPABILITIES.to_owned(),
        ..ClientFacts::portal()
    };
    let method = Method::Listen.as_str();
    let members = format!("\"notifications\":{}", json!({ "taskIds": ids }));
    let body = own_request_as(&client, LISTEN_ID, method, &members, Era::Modern);
    let mut request = modern_request(&place.server, method, None, Vec::new(), body);
    request.timeout_ms = LISTEN_MS_MAX;
    let reply = ports.send(&permit, &place.server, request).await.ok()?;
    if reply.status != 200 || reply.kind != BodyKind::Events {
        return None;
    }
    let mut messages = messages(reply.body);
    let honoured = loop {
        if let Some(honoured) = honoured(&messages.next().await?) {
            break honoured;
        }
    };
    handles.retain(|handle| honoured.contains(&handle.id));
    if handles.is_empty() {
        return None;
    }
    let (server, teller) = (place.server.id.clone(), place.server.id.clone());
    let told = messages.map(move |message| TaskEvent::Told(teller.clone(), message));
    let cut = futures::stream::once(ready(TaskEvent::Cut(server)));
    Some((handles, told.chain(cut).boxed_local()))
}

/// The tasks of which a server says that it will tell, where a message says so.
fn honoured(message: &[u8]) -> Option<Vec<String>> {
    let glance = Glance::at(message).ok()?;
    if glance.method_name() != Some(ACKNOWLEDGED) {
        return None;
    }
    let params: Value = serde_json::from_str(glance.params?.text).ok()?;
    let ids = params.pointer("/notifications/taskIds").cloned();
    Some(serde_json::from_value(ids.unwrap_or_default()).unwrap_or_default())
}

/// A `notifications/tasks`, as far as the portal reads it.
#[derive(Default)]
struct Told<'a> {
    params: usize,
    task_id: Option<Raw<'a>>,
    meta: Option<Raw<'a>>,
    status: Option<Raw<'a>>,
    is_error: bool,
}

impl<'a> Told<'a> {
    fn at(message: &'a [u8]) -> Option<Self> {
        let glance = Glance::at(message).ok()?;
        let is_it = glance.direction() == Some(Direction::Notification)
            && glance.method_name() == Some(TOLD);
        let params = glance.params.filter(|_| is_it)?;
        let mut told = Self {
            params: params.start,
            ..Self::default()
        };
        told.read(params).ok()?;
        Some(told)
    }

    fn read(&mut self, params: Raw<'a>) -> Result<(), Malformed> {
        Reader::again(params, REPLY_DEPTH_MAX).object(|reader, key| {
            match &*key {
                "taskId" => self.task_id = Some(reader.raw()?),
                "_meta" => self.meta = Some(reader.raw()?),
                "status" => self.status = Some(reader.raw()?),
                "result" if reader.kind()? == JsonKind::Object => {
                    reader.object(|reader, key| {
                        if key == "isError" {
                            self.is_error = reader.raw()?.text == "true";
                        }
                        Ok(())
                    })?;
                }
                _ => reader.skip()?,
            }
            Ok(())
        })
    }

    /// How the task ended, where it did.
    fn end(&self) -> Option<Status> {
        let status: String = serde_json::from_str(self.status?.text).ok()?;
        match status.as_str() {
            "completed" if self.is_error => Some(Status::ToolError),
            "completed" => Some(Status::Ok),
            "failed" => Some(Status::RpcError),
            "cancelled" => Some(Status::Cancelled),
            _ => None,
        }
    }

    /// The message under the client's own ids of task and subscription.
    fn in_clients_words(
        &self,
        message: &[u8],
        sealed: &str,
        subscription: &Value,
    ) -> Option<Vec<u8>> {
        let task_id = self.task_id?;
        let sealed = quoted(sealed);
        let meta = json!({ "io.modelcontextprotocol/subscriptionId": subscription }).to_string();
        let (at, meta) = match self.meta {
            Some(spelled) => (spelled.start..spelled.end, meta),
            None => {
                let inside = self.params.saturating_add(1);
                (inside..inside, format!("\"_meta\":{meta},"))
            }
        };
        let mut edits = [
            (task_id.start..task_id.end, sealed.as_slice()),
            (at, meta.as_bytes()),
        ];
        edits.sort_by_key(|(range, _)| range.start);
        Some(splice(message, &edits))
    }
}

#[cfg(test)]
mod tests;
