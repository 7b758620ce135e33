//! `SessionObject`: one legacy client session, or the calls of one modern client on a legacy server that may ask it. It
//! owns the open streams, runs the pipeline for its messages, and survives eviction by its rows.

mod bridge;
mod watch;

use std::cell::Cell;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::channel::mpsc::Receiver;
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

use self::bridge::BRIDGE;
pub(super) use self::bridge::hand_over_call;
use super::hand_over::HandOver;
use super::ports::{EdgePorts, Lifetime, now_ms};
use super::session_ports::{Opened, SessionMemory};
use super::session_rows::SessionRows;
use super::session_streams::{STANDALONE, parse_event_id};
use super::upstream::Passed;
use super::{reply as edge_reply, store};
use crate::audit::EarlyEnd;
use crate::error::{Internal, PortalError, Rejection, to_wire};
use crate::limits::{BATCH_MESSAGES_MAX, SESSION_IDLE_MS};
use crate::mcp::message::BadMessage;
use crate::mcp::{Era, Message, Revision, reply as wire_reply};
use crate::policy::admit;
use crate::portal::caller::Deed;
use crate::portal::ports::{AuditSink as _, Keeping as _, Original, Random as _};
use crate::portal::record::CallRecord;
use crate::portal::subscriptions::take_up;
use crate::portal::{Caller, Outgoing, Reply, ReplyBody, handle, hold, rounds};

/// One legacy session.
#[durable_object]
pub struct SessionObject {
    state: Rc<State>,
    env: Rc<Env>,
    memory: Rc<SessionMemory>,
    touched_ms: Cell<u64>,
    is_watching: Rc<Cell<bool>>,
}

impl DurableObject for SessionObject {
    fn new(state: State, env: Env) -> Self {
        let memory = Rc::new(SessionMemory::new(SessionRows::new(state.storage().sql())));
        Self {
            state: Rc::new(state),
            env: Rc::new(env),
            memory,
            touched_ms: Cell::new(0),
            is_watching: Rc::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let Some(hand_over) = HandOver::of(&request) else {
            return Response::error("sessions are reached through the portal", 400);
        };
        let body = if request.method() == Method::Post {
            request.bytes().await?
        } else {
            Vec::new()
        };
        if hand_over.session_id.starts_with(BRIDGE) {
            let reply = self.modern(hand_over, &body).await;
            // The platform neither reads nor cancels what comes too late; dropped here, a stream ends its call.
            let is_gone = request.inner().signal().aborted();
            let reply = if is_gone { Reply::empty(204) } else { reply };
            return Ok(edge_reply::respond(reply).into());
        }
        let who = hand_over.clone();
        let served = match request.method() {
            Method::Post => self.post(hand_over, &body).await,
            Method::Get => self.get(hand_over).await,
            Method::Delete => self.delete(hand_over).await,
            _ => Err(Rejection::HttpMethod.into()),
        };
        Ok(served
            .unwrap_or_else(|error| self.refuse(&who, &body, &error))
            .into())
    }

    /// A call that waited too long, or an object idle for its whole life.
    async fn alarm(&self) -> worker::Result<Response> {
        self.memory.woken();
        self.look_into_calls().await;
        if self.lives_on() {
            return Response::empty();
        }
        self.lose_calls().await;
        if let Ok(ports) = self.ports() {
            crate::portal::session::leave(&ports).await;
        }
        // Somebody may have come while the servers were told.
        if self.lives_on() {
            return Response::empty();
        }
        self.memory.close();
        self.state.storage().delete_all().await?;
        Response::empty()
    }
}

/// 2025-03-26, basic/lifecycle: the request must not be part of a batch.
const INITIALIZE_IN_BATCH: BadMessage = BadMessage::NotRpc("initialize is not part of a batch");

fn is_initialize(message: &Message<'_>) -> bool {
    matches!(message, Message::Request(request) if request.method == "initialize")
}

impl SessionObject {
    /// What ends a request before it becomes a message of the session is recorded here.
    fn refuse(&self, who: &HandOver, body: &[u8], error: &PortalError) -> web_sys::Response {
        self.record_refusal(who, Era::Legacy, body, error);
        let id = Message::id_of(body).map_or("null", |id| id.text);
        edge_reply::respond(Reply::error(id, error, Era::Legacy, &who.request_id))
    }

    fn record_refusal(&self, who: &HandOver, era: Era, body: &[u8], error: &PortalError) {
        let end = EarlyEnd {
            request_id: &who.request_id,
            received_ms: who.received_ms,
            portal: &who.portal,
            principal: Some(&who.principal),
            era,
            request_bytes: body.len() as u64,
        };
        if let Ok(ports) = self.ports() {
            let mut random = [0_u8; 10];
            ports.fill(&mut random);
            ports.queue(end.refused(error.reason(), now_ms(), random));
        }
    }

    fn ports(&self) -> Result<EdgePorts, PortalError> {
        let mut ports = EdgePorts::new(self.env.clone(), Lifetime::Object(self.state.clone()))
            .ok_or(Internal::Platform)?;
        ports.session = Some(self.memory.clone());
        Ok(ports)
    }

    /// The caller under the rules in force, in this session.
    async fn caller(
        &self,
        hand_over: HandOver,
        revision: Revision,
        request_bytes: usize,
    ) -> Result<Rc<Caller>, PortalError> {
        let active = store::active(&self.env).await.ok_or(Rejection::StoreAway)?;
        let portal = active
            .config
            .portal(&hand_over.portal)
            .ok_or(Rejection::NotFound)?
            .clone();
        let admission = admit(&hand_over.principal, &portal, &active.config.groups)
            .map_err(|_| Rejection::NotAdmitted)?;
        let caller = Rc::new(Caller {
            principal: Rc::new(hand_over.principal),
            admission,
            portal,
            active,
            agent: hand_over.agent,
            request_id: hand_over.request_id,
            received_ms: hand_over.received_ms,
            era: revision.era(),
            revision,
            request_bytes: request_bytes as u64,
            sent_header: Rc::new(|_| None),
        });
        self.memory.set_caller(caller.clone());
        Ok(caller)
    }

    /// The session's client, where the caller is the one it belongs to. Anybody else learns nothing of it.
    fn opened_for(&self, hand_over: &HandOver) -> Result<Opened, PortalError> {
        self.memory
            .opened()
            .filter(|opened| {
                opened.subject == hand_over.principal.subject && opened.portal == hand_over.portal
            })
            .ok_or_else(|| Rejection::UnknownSession.into())
    }

    /// Pushes the end of the object's life away, at most once an hour.
    fn touch(&self) {
        const HOUR_MS: u64 = 3_600_000;
        let now = now_ms();
        if now.saturating_sub(self.touched_ms.get()) > HOUR_MS {
            self.touched_ms.set(now);
            self.memory.rows.set_fact("touched_ms", &now.to_string());
            self.memory
                .wake_at(&self.state, now.saturating_add(SESSION_IDLE_MS));
        }
    }

    /// Whether somebody was here within the object's idle life: then it is woken again.
    fn lives_on(&self) -> bool {
        let memory = &self.memory;
        let touched_ms = memory
            .rows
            .fact("touched_ms")
            .and_then(|at| at.parse().ok());
        let idle_ms = touched_ms.map_or(0, |at: u64| at.saturating_add(SESSION_IDLE_MS));
        let now = now_ms();
        if now >= idle_ms {
            return false;
        }
        let next_ms = memory.rows.next_expiry_ms(now).unwrap_or(idle_ms);
        memory.wake_at(&self.state, next_ms.min(idle_ms));
        true
    }

    /// Calls that were to be over by now, of which only the rows are left: their ends are told and recorded.
    async fn look_into_calls(&self) {
        let Ok(ports) = self.ports() else { return };
        let memory = &self.memory;
        for (call, text) in memory.rows.expired_calls(now_ms()) {
            hold::sweep(&ports, &call, &text).await;
            let stream = memory.rows.stream_of(&call);
            if stream.is_some_and(|stream| !memory.streams.is_open(stream)) {
                ports.revive(&call).await;
            }
        }
    }

    /// The calls that nobody can go on with any more end in the audit.
    async fn lose_calls(&self) {
        let Ok(ports) = self.ports() else { return };
        let memory = &self.memory;
        for (call, text) in memory.rows.calls() {
            let stream = memory.rows.stream_of(&call);
            if stream.is_some_and(|stream| memory.streams.is_open(stream)) {
                continue;
            }
            if let Some(record) = CallRecord::parse(&text) {
                rounds::lost(&ports, &call, &record).await;
            }
        }
    }

    async fn post(
        &self,
        hand_over: HandOver,
        body: &[u8],
    ) -> Result<web_sys::Response, PortalError> {
        let parsed = Message::parse(body);
        if let Ok(Message::Request(request)) = &parsed
            && request.method == "initialize"
        {
            return self.initialize(hand_over, &parsed, body.len()).await;
        }
        let opened = self.opened_for(&hand_over)?;
        self.touch();
        // What the client answers or cancels makes room.
        let _ticket = match parsed {
            Ok(Message::Request(_)) | Err(BadMessage::Batch) => Some(self.memory.take_on()?),
            _ => None,
        };
        let revision = Revision::parse(&opened.revision).unwrap_or(Revision::LATEST_LEGACY);
        let ports = self.ports()?;
        let caller = self.caller(hand_over, revision, body.len()).await?;
        take_up(&ports, &caller);
        match parsed {
            Err(BadMessage::Batch) if revision.has_batches() => {
                self.batch(&ports, &caller, body).await
            }
            Err(bad) => Err(bad.into()),
            Ok(message) => {
                let reply = handle(&ports, &caller, &message).await;
                Ok(self.respond(&ports, reply, revision))
            }
        }
    }

    async fn initialize(
        &self,
        hand_over: HandOver,
        parsed: &Result<Message<'_>, BadMessage>,
        request_bytes: usize,
    ) -> Result<web_sys::Response, PortalError> {
        let Ok(message @ Message::Request(request)) = parsed else {
            return Err(Internal::SessionState.into());
        };
        if self.memory.opened().is_some() {
            return Err(Rejection::BadParams(
                "Invalid params: this session is initialized already".into(),
            )
            .into());
        }
        let requested = request
            .params
            .protocol_version
            .as_deref()
            .ok_or(Rejection::BadParams(
                "Invalid params: protocolVersion is missing".into(),
            ))?;
        let revision = Revision::negotiate(requested);
        let raw = |value: Option<crate::mcp::json::Raw<'_>>| {
            value.map_or("{}", |raw| raw.text).to_owned()
        };
        let opened = Opened {
            subject: hand_over.principal.subject.clone(),
            portal: hand_over.portal.clone(),
            revision: revision.as_str().to_owned(),
            capabilities: raw(request.params.capabilities),
            info: request.params.client_info.map_or_else(
                || crate::portal::ports::ClientFacts::portal().info,
                |info| info.text.to_owned(),
            ),
        };
        if !self.memory.open(opened) {
            return Err(Internal::SessionState.into());
        }
        self.touch();
        let session_id = hand_over.session_id.clone();
        let ports = self.ports()?;
        let caller = self.caller(hand_over, revision, request_bytes).await?;
        let mut reply = handle(&ports, &caller, message).await;
        reply.headers.push(("Mcp-Session-Id", session_id));
        Ok(edge_reply::respond(reply))
    }

    /// A stream goes on without its client, who may come back for the rest.
    fn respond(
        &self,
        ports: &EdgePorts,
        reply: Reply<Original<EdgePorts>>,
        revision: Revision,
    ) -> web_sys::Response {
        let Reply {
            status,
            headers,
            body,
            call,
        } = reply;
        let ReplyBody::Events(events) = body else {
            return edge_reply::respond(Reply {
                status,
                headers,
                body,
                call,
            });
        };
        let memory = self.memory.clone();
        let Some(stream) = memory.rows.open_stream() else {
            return edge_reply::error(&Internal::SessionState.into(), Era::Legacy, "");
        };
        if let Some(call) = call {
            memory.rows.carry(stream, &call);
        }
        let frames = memory.streams.begin(&memory.rows, stream);
        if revision >= Revision::V2025_11_25 {
            // An event that only carries an id: the client can come back even if nothing else arrives.
            memory.streams.send(&memory.rows, stream, "");
        }
        memory.streams.deliver_waiting(&memory.rows, stream);
        memory.drain(ports, stream, events);
        edge_reply::frames(frames)
    }

    /// A batch is answered as one array (2025-03-26, basic/transports). What a server sends meanwhile goes to the
    /// client's own stream.
    async fn batch(
        &self,
        ports: &EdgePorts,
        caller: &Rc<Caller>,
        body: &[u8],
    ) -> Result<web_sys::Response, PortalError> {
        let bodies = Message::split_batch(body, BATCH_MESSAGES_MAX)?;
        let mut answers: Vec<Vec<u8>> = Vec::new();
        for body in bodies {
            let message = match Message::parse(body) {
                Ok(message) if !is_initialize(&message) => message,
                unfit => {
                    let bad = unfit.err().unwrap_or(INITIALIZE_IN_BATCH);
                    let error = PortalError::from(bad);
                    caller.refuse(ports, &Deed::default(), error.label());
                    let id = Message::id_of(body).map_or("null", |id| id.text);
                    let wire = to_wire(&error, Era::Legacy);
                    answers.push(wire_reply::error(id, &wire, &caller.request_id));
                    continue;
                }
            };
            match handle(ports, caller, &message).await.body {
                // Only modern clients' calls are done elsewhere.
                ReplyBody::Empty | ReplyBody::Original(Passed::Response(_)) => {}
                ReplyBody::Json(bytes) => answers.push(bytes),
                ReplyBody::Original(Passed::Buffer(buffer)) => {
                    answers.push(js_sys::Uint8Array::new(&buffer).to_vec());
                }
                ReplyBody::Events(mut events) => {
                    let mut last: Option<Vec<u8>> = None;
                    while let Some(event) = events.next().await {
                        let Outgoing::Message(message) = event else {
                            continue;
                        };
                        if let Some(earlier) = last.replace(message) {
                            let memory = &self.memory;
                            memory
                                .streams
                                .send_anywhere(&memory.rows, &String::from_utf8_lossy(&earlier));
                        }
                    }
                    answers.extend(last);
                }
            }
        }
        if answers.is_empty() {
            return Ok(edge_reply::respond(Reply::<Original<EdgePorts>>::empty(
                202,
            )));
        }
        let mut out = b"[".to_vec();
        out.extend_from_slice(&answers.join(&b','));
        out.push(b']');
        Ok(edge_reply::respond(Reply::<Original<EdgePorts>>::json(out)))
    }

    async fn get(&self, hand_over: HandOver) -> Result<web_sys::Response, PortalError> {
        let opened = self.opened_for(&hand_over)?;
        self.touch();
        let last_event_id = hand_over.last_event_id.clone();
        let revision = Revision::parse(&opened.revision).unwrap_or(Revision::LATEST_LEGACY);
        let caller = self.caller(hand_over, revision, 0).await?;
        let memory = &self.memory;
        let frames: Receiver<Vec<u8>> = match last_event_id.as_deref().map(parse_event_id) {
            Some(Some((stream, seq))) if stream != STANDALONE => {
                if let Some(call) = memory.rows.call_of(stream)
                    && !memory.streams.is_open(stream)
                {
                    self.ports()?.revive(&call).await;
                }
                return Ok(edge_reply::frames(memory.streams.resume(
                    &memory.rows,
                    stream,
                    seq,
                )));
            }
            Some(Some((_, seq))) => memory.streams.resume(&memory.rows, STANDALONE, seq),
            Some(None) => {
                return Err(
                    Rejection::BadParams("Last-Event-ID is none of this session's".into()).into(),
                );
            }
            None => memory.streams.begin(&memory.rows, STANDALONE),
        };
        memory.streams.deliver_waiting(&memory.rows, STANDALONE);
        let ports = self.ports()?;
        for server in memory.upstreams() {
            memory.listen_to(&ports, &server);
        }
        take_up(&ports, &caller);
        self.watch(&ports, caller);
        Ok(edge_reply::frames(frames))
    }

    async fn delete(&self, hand_over: HandOver) -> Result<web_sys::Response, PortalError> {
        self.opened_for(&hand_over)?;
        let caller = self.caller(hand_over, Revision::LATEST_LEGACY, 0).await?;
        let ports = self.ports()?;
        self.lose_calls().await;
        crate::portal::session::end(&ports, &caller).await;
        self.memory.close();
        self.state
            .storage()
            .delete_all()
            .await
            .map_err(|_| Internal::SessionState)?;
        Ok(edge_reply::respond(Reply::<Original<EdgePorts>>::empty(
            204,
        )))
    }
}
