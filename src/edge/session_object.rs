//! `SessionObject`: one legacy client session. It owns the open streams, runs the pipeline for the session's messages,
//! and survives eviction by its rows.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc::Receiver;
use serde::{Deserialize, Serialize};
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

use super::ports::{EdgePorts, Lifetime, now_ms};
use super::session_ports::{Opened, SessionMemory};
use super::session_rows::SessionRows;
use super::session_streams::{STANDALONE, parse_event_id};
use super::{reply as edge_reply, store};
use crate::audit::EarlyEnd;
use crate::error::{Internal, PortalError, Rejection, to_wire};
use crate::identity::Principal;
use crate::limits::{BATCH_MESSAGES_MAX, KEEP_ALIVE_MS, SESSION_IDLE_MS};
use crate::mcp::message::BadMessage;
use crate::mcp::{Era, Message, Revision, reply as wire_reply};
use crate::policy::admit;
use crate::portal::caller::Deed;
use crate::portal::ports::{AuditSink as _, Background as _, Clock as _, Original, Random as _};
use crate::portal::subscriptions::take_up;
use crate::portal::watch::{Watch, change_method, still_admitted};
use crate::portal::{Caller, Outgoing, Reply, ReplyBody, handle};

/// The header in which the worker tells the object who calls. Nobody else can reach the object.
pub(super) const HAND_OVER: &str = "portcullis-hand-over";

/// Who calls, as the worker found out. What they may do is decided again here: permits are never serialised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HandOver {
    pub session_id: String,
    pub portal: String,
    pub principal: Principal,
    pub agent: Option<String>,
    pub request_id: String,
    pub received_ms: u64,
    pub last_event_id: Option<String>,
}

/// One legacy session.
#[durable_object]
pub struct SessionObject {
    state: Rc<State>,
    env: Rc<Env>,
    memory: Rc<SessionMemory>,
    alarm_set_ms: Cell<u64>,
    is_watching: Rc<Cell<bool>>,
}

impl DurableObject for SessionObject {
    fn new(state: State, env: Env) -> Self {
        let memory = Rc::new(SessionMemory::new(SessionRows::new(state.storage().sql())));
        Self {
            state: Rc::new(state),
            env: Rc::new(env),
            memory,
            alarm_set_ms: Cell::new(0),
            is_watching: Rc::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let Some(hand_over) = hand_over(&request) else {
            return Response::error("sessions are reached through the portal", 400);
        };
        let body = if request.method() == Method::Post {
            request.bytes().await?
        } else {
            Vec::new()
        };
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

    /// The session was idle for its whole life.
    async fn alarm(&self) -> worker::Result<Response> {
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

fn hand_over(request: &Request) -> Option<HandOver> {
    let text = request.headers().get(HAND_OVER).ok()??;
    serde_json::from_str(&text).ok()
}

impl SessionObject {
    /// What ends a request before it becomes a message of the session is recorded here.
    fn refuse(&self, who: &HandOver, body: &[u8], error: &PortalError) -> web_sys::Response {
        let end = EarlyEnd {
            request_id: &who.request_id,
            received_ms: who.received_ms,
            portal: &who.portal,
            principal: Some(&who.principal),
            era: Era::Legacy,
            request_bytes: body.len() as u64,
        };
        if let Ok(ports) = self.ports() {
            let mut random = [0_u8; 10];
            ports.fill(&mut random);
            ports.queue(end.refused(error.reason(), now_ms(), random));
        }
        let id = Message::id_of(body).map_or("null", |id| id.text);
        edge_reply::respond(Reply::error(id, error, Era::Legacy, &who.request_id))
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
            era: Era::Legacy,
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

    /// Pushes the end of the session's life away, at most once an hour.
    async fn touch(&self) {
        const HOUR_MS: u64 = 3_600_000;
        let now = now_ms();
        if now.saturating_sub(self.alarm_set_ms.get()) > HOUR_MS {
            self.alarm_set_ms.set(now);
            let _ = self
                .state
                .storage()
                .set_alarm(Duration::from_millis(SESSION_IDLE_MS))
                .await;
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
        self.touch().await;
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
        self.touch().await;
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
        } = reply;
        let ReplyBody::Events(mut events) = body else {
            return edge_reply::respond(Reply {
                status,
                headers,
                body,
            });
        };
        let memory = self.memory.clone();
        let Some(stream) = memory.rows.open_stream() else {
            return edge_reply::error(&Internal::SessionState.into(), Era::Legacy, "");
        };
        let frames = memory.streams.begin(&memory.rows, stream);
        if revision >= Revision::V2025_11_25 {
            // An event that only carries an id: the client can come back even if nothing else arrives.
            memory.streams.send(&memory.rows, stream, "");
        }
        memory.streams.deliver_waiting(&memory.rows, stream);
        ports.spawn(Box::pin(async move {
            while let Some(event) = events.next().await {
                match event {
                    Outgoing::Message(message) => {
                        memory.streams.send(
                            &memory.rows,
                            stream,
                            &String::from_utf8_lossy(&message),
                        );
                    }
                    Outgoing::KeepAlive => {
                        memory.streams.keep_alive(stream);
                    }
                }
            }
            memory.streams.end(&memory.rows, stream);
        }));
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
                ReplyBody::Empty => {}
                ReplyBody::Json(bytes) => answers.push(bytes),
                ReplyBody::Original(buffer) => {
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
        self.touch().await;
        let last_event_id = hand_over.last_event_id.clone();
        let revision = Revision::parse(&opened.revision).unwrap_or(Revision::LATEST_LEGACY);
        let caller = self.caller(hand_over, revision, 0).await?;
        let memory = &self.memory;
        let frames: Receiver<Vec<u8>> = match last_event_id.as_deref().map(parse_event_id) {
            Some(Some((stream, seq))) if stream != STANDALONE => {
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

    /// While the client listens: tells it which listings changed, and ends its streams when it may not be here any more.
    fn watch(&self, ports: &EdgePorts, caller: Rc<Caller>) {
        if self.is_watching.replace(true) {
            return;
        }
        let (task_ports, memory, is_watching) =
            (ports.clone(), self.memory.clone(), self.is_watching.clone());
        ports.spawn(Box::pin(async move {
            let mut caller = caller;
            let off = caller.toggled_off(&task_ports).await;
            let mut watch = Watch::begin(&task_ports, &caller, &off).await;
            let mut spoke_ms = now_ms();
            loop {
                task_ports.sleep_ms(watch.pause_ms(now_ms())).await;
                let now = now_ms();
                if !memory.streams.is_connected(STANDALONE) {
                    break;
                }
                if let Some(still) = still_admitted(&task_ports, &caller, now).await {
                    caller = still;
                } else {
                    memory.streams.end_all();
                    break;
                }
                let off = caller.toggled_off(&task_ports).await;
                for listing in watch.changed(&task_ports, &caller, &off).await {
                    let method = change_method(listing);
                    let message = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"}}");
                    memory.streams.send(&memory.rows, STANDALONE, &message);
                    spoke_ms = now;
                }
                if now.saturating_sub(spoke_ms) >= KEEP_ALIVE_MS {
                    spoke_ms = now;
                    memory.streams.keep_alive(STANDALONE);
                }
            }
            is_watching.set(false);
        }));
    }

    async fn delete(&self, hand_over: HandOver) -> Result<web_sys::Response, PortalError> {
        self.opened_for(&hand_over)?;
        let caller = self.caller(hand_over, Revision::LATEST_LEGACY, 0).await?;
        let ports = self.ports()?;
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
