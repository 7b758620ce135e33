//! The way to upstream servers: each is a closure that answers, everything sent is kept.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures::future::{Either, select};

use portcullis::config::Server;
use portcullis::error::UpstreamFault;
use portcullis::policy::Permit;
use portcullis::portal::ports::{
    BodyKind, Outbound, UpstreamBody, UpstreamReply, Upstreams, Verb, Whole,
};
use serde_json::Value;

use super::time::Timers;
use super::world::World;

/// One request as it left.
#[derive(Debug, Clone)]
pub struct Sent {
    pub server: String,
    pub verb: Verb,
    /// Where to, where that is not the server's own address.
    pub to: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The rule of its permit.
    pub rule: String,
    pub is_write: bool,
    pub at_ms: u64,
}

impl Sent {
    /// The body as most servers read it: the last of two equal keys wins.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn method(&self) -> String {
        let body = self.json();
        match self.verb {
            Verb::Get => "GET".into(),
            Verb::Delete => "DELETE".into(),
            Verb::Post => body["method"].as_str().unwrap_or("response").into(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A piece of a body.
#[derive(Debug, Clone)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// The next piece comes this much later.
    Wait(u64),
    Fault(UpstreamFault),
    /// Nothing ever comes; the time-out ends it.
    Hang,
    /// Whatever is pushed into it, as it comes, to its end.
    Feed(Feed),
}

/// A body that is still being written.
#[derive(Debug, Clone, Default)]
pub struct Feed(Rc<RefCell<Written>>);

#[derive(Debug, Default)]
struct Written {
    pieces: VecDeque<Piece>,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Feed {
    pub fn push(&self, piece: Piece) {
        let mut written = self.0.borrow_mut();
        written.pieces.push_back(piece);
        if let Some(waker) = written.waker.take() {
            waker.wake();
        }
    }

    pub fn close(&self) {
        let mut written = self.0.borrow_mut();
        written.is_closed = true;
        if let Some(waker) = written.waker.take() {
            waker.wake();
        }
    }

    /// How much was written that nobody has read.
    pub fn unread(&self) -> usize {
        self.0.borrow().pieces.len()
    }

    async fn next(&self) -> Option<Piece> {
        poll_fn(|context| {
            let mut written = self.0.borrow_mut();
            if written.pieces.is_empty() && !written.is_closed {
                written.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(written.pieces.pop_front())
        })
        .await
    }
}

/// A reply to come.
#[derive(Debug, Clone)]
pub struct Canned {
    pub delay_ms: u64,
    pub status: u16,
    pub kind: BodyKind,
    pub session_id: Option<String>,
    pub retry_after_s: Option<u32>,
    pub pieces: Vec<Piece>,
    pub fault: Option<UpstreamFault>,
    pub hangs: bool,
}

impl Canned {
    pub fn with(status: u16, kind: BodyKind, body: impl Into<Vec<u8>>) -> Self {
        Self {
            delay_ms: 0,
            status,
            kind,
            session_id: None,
            retry_after_s: None,
            pieces: vec![Piece::Bytes(body.into())],
            fault: None,
            hangs: false,
        }
    }

    pub fn json(body: Value) -> Self {
        Self::with(200, BodyKind::Json, body.to_string())
    }

    pub fn status(status: u16) -> Self {
        Self::with(status, BodyKind::Other, "")
    }

    pub fn events(pieces: Vec<Piece>) -> Self {
        Self {
            pieces,
            ..Self::with(200, BodyKind::Events, "")
        }
    }

    /// Messages, one event each, in one chunk.
    pub fn messages(messages: &[Value]) -> Self {
        let text: String = messages.iter().map(event).collect();
        Self::events(vec![Piece::Bytes(text.into_bytes())])
    }

    pub fn fault(fault: UpstreamFault) -> Self {
        Self {
            fault: Some(fault),
            ..Self::status(0)
        }
    }

    pub fn hang() -> Self {
        Self {
            hangs: true,
            ..Self::status(0)
        }
    }

    pub fn after(self, delay_ms: u64) -> Self {
        Self { delay_ms, ..self }
    }

    /// The same with the id and the progress token of a request in place of `"$ID"` and `"$TOKEN"`.
    pub fn about(mut self, request: &Value) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Bytes(bytes) = piece {
                *bytes = about(bytes, request);
            }
        }
        self
    }
}

/// One event of a stream.
pub fn event(message: &Value) -> String {
    format!("data: {message}\n\n")
}

/// Bytes with the id and the progress token of a request in place of `"$ID"` and `"$TOKEN"`.
pub fn about(bytes: &[u8], request: &Value) -> Vec<u8> {
    let token = &request["params"]["_meta"]["progressToken"];
    let named = replaced(bytes, br#""$ID""#, &request["id"].to_string());
    replaced(&named, br#""$TOKEN""#, &token.to_string())
}

fn replaced(bytes: &[u8], placeholder: &[u8], text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, others)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(placeholder) {
            out.extend_from_slice(text.as_bytes());
            rest = after;
        } else {
            out.push(*first);
            rest = others;
        }
    }
    out
}

type Answering = Box<dyn FnMut(&Sent) -> Canned>;

#[derive(Default)]
pub struct FakeUpstreams {
    servers: RefCell<HashMap<String, Answering>>,
    pub sent: RefCell<Vec<Sent>>,
    open: Rc<Cell<usize>>,
    /// Most connections open at once: from a request's start to the end or drop of its body.
    pub open_max: Cell<usize>,
}

struct Connection(Rc<Cell<usize>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl FakeUpstreams {
    pub fn serve(&self, server: &str, answering: impl FnMut(&Sent) -> Canned + 'static) {
        let answering: Answering = Box::new(answering);
        self.servers
            .borrow_mut()
            .insert(server.to_owned(), answering);
    }

    /// Everything sent so far, as `server method`.
    pub fn lines(&self) -> Vec<String> {
        let line = |sent: &Sent| format!("{} {}", sent.server, sent.method());
        self.sent.borrow().iter().map(line).collect()
    }

    /// The requests of one method.
    pub fn of(&self, method: &str) -> Vec<Sent> {
        let sent = self.sent.borrow();
        sent.iter()
            .filter(|s| s.method() == method)
            .cloned()
            .collect()
    }

    pub fn clear(&self) {
        self.sent.borrow_mut().clear();
    }

    pub fn open(&self) -> usize {
        self.open.get()
    }
}

pub struct FakeBody {
    timers: Rc<Timers>,
    pieces: VecDeque<Piece>,
    timeout_ms: u64,
    connection: Option<Connection>,
}

impl UpstreamBody for FakeBody {
    type Original = Vec<u8>;

    async fn whole(mut self, bytes_max: usize) -> Result<Whole<Vec<u8>>, UpstreamFault> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > bytes_max {
                return Err(UpstreamFault::TooLarge);
            }
        }
        Ok(Whole {
            original: bytes.clone(),
            bytes,
        })
    }

    /// Like the platform's: a read that was begun takes its piece, also where nobody waits for it any more.
    async fn chunk(&mut self) -> Option<Result<Vec<u8>, UpstreamFault>> {
        let mut waits_ms = 0;
        loop {
            let Some(piece) = self.pieces.pop_front() else {
                self.connection = None;
                self.timers.sleep(waits_ms).await;
                return None;
            };
            match piece {
                Piece::Wait(ms) => waits_ms += ms,
                Piece::Bytes(bytes) => {
                    self.timers.sleep(waits_ms).await;
                    return Some(Ok(bytes));
                }
                Piece::Fault(fault) => {
                    self.timers.sleep(waits_ms).await;
                    return Some(Err(fault));
                }
                Piece::Feed(feed) => {
                    let next = {
                        let late = pin!(self.timers.sleep(self.timeout_ms));
                        match select(pin!(feed.next()), late).await {
                            Either::Left((next, _)) => next,
                            Either::Right(_) => {
                                Some(Piece::Fault(UpstreamFault::TimedOut(self.timeout_ms)))
                            }
                        }
                    };
                    if let Some(piece) = next {
                        self.pieces.push_front(Piece::Feed(feed));
                        self.pieces.push_front(piece);
                    }
                }
                Piece::Hang => {
                    self.pieces.push_front(Piece::Hang);
                    self.timers.sleep(self.timeout_ms).await;
                    return Some(Err(UpstreamFault::TimedOut(self.timeout_ms)));
                }
            }
        }
    }
}

impl Upstreams for World {
    type Body = FakeBody;

    async fn send(
        &self,
        permit: &Permit,
        server: &Server,
        request: Outbound,
    ) -> Result<UpstreamReply<FakeBody>, UpstreamFault> {
        assert_eq!(permit.server(), server.id, "a permit of another server");
        let sent = Sent {
            server: server.id.clone(),
            verb: request.verb,
            to: request.to.map(|to| to.as_str().to_owned()),
            headers: request
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()))
                .collect(),
            body: request.body,
            rule: permit.rule().to_owned(),
            is_write: permit.is_write(),
            at_ms: self.timers.now_ms(),
        };
        let upstreams = &self.upstreams;
        self.step(format!("send {} {}", sent.server, sent.method()));
        let canned = {
            let mut servers = upstreams.servers.borrow_mut();
            let answering = servers.get_mut(&server.id);
            answering.map_or_else(|| Canned::fault(UpstreamFault::Unreachable), |a| a(&sent))
        };
        upstreams.sent.borrow_mut().push(sent);
        upstreams.open.set(upstreams.open.get() + 1);
        upstreams
            .open_max
            .set(upstreams.open_max.get().max(upstreams.open.get()));
        let connection = Connection(upstreams.open.clone());
        if canned.hangs {
            self.timers.sleep(request.timeout_ms).await;
            return Err(UpstreamFault::TimedOut(request.timeout_ms));
        }
        self.timers.sleep(canned.delay_ms).await;
        if let Some(fault) = canned.fault {
            return Err(fault);
        }
        Ok(UpstreamReply {
            status: canned.status,
            kind: canned.kind,
            session_id: canned.session_id,
            retry_after_s: canned.retry_after_s,
            body: FakeBody {
                timers: self.timers.clone(),
                pieces: canned.pieces.into(),
                timeout_ms: request.timeout_ms,
                connection: Some(connection),
            },
        })
    }
}
