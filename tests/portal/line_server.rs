//! A server that speaks HTTP+SSE alone: what it says goes to the stream of the connection that was written to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use portcullis::portal::ports::{BodyKind, Verb};
use serde_json::{Value, json};

use super::mcp_server::{Mcp, Speaks};
use super::scene::{Scene, document};
use super::upstreams::{Canned, Feed, Piece, Sent};

/// What a test changes or looks at while the server serves.
pub struct LineServer {
    /// What it offers and answers.
    pub mcp: Rc<Mcp>,
    /// The answer to what is posted to its own address.
    pub own_address: RefCell<Canned>,
    /// The answer to GET instead of a stream that begins with its endpoint.
    pub stream: RefCell<Option<Canned>>,
    /// The endpoint it names; `$C` is the connection's number.
    pub endpoint: RefCell<String>,
    /// The answer to a posted message of a method instead of 202; the message is not looked at then.
    pub refuses: RefCell<Option<(&'static str, Canned)>>,
    /// How long it keeps back its reply to what is posted. What it says is said at once.
    pub held_back_ms: Cell<u64>,
    /// Sent before each answer to this method.
    pub before: RefCell<Option<(&'static str, Value)>>,
    pub feeds: RefCell<Vec<Feed>>,
}

/// An event as servers of the transport write them.
pub fn named(name: &str, data: &str) -> Piece {
    Piece::Bytes(format!("event: {name}\ndata: {data}\n\n").into_bytes())
}

/// A message as they write it.
pub fn message(message: &Value) -> Piece {
    named("message", &message.to_string())
}

impl LineServer {
    pub fn new() -> Rc<Self> {
        let mcp = Mcp::new(Speaks::Legacy).with_resources("jira");
        mcp.stateless.set(true);
        Rc::new(Self {
            mcp,
            own_address: RefCell::new(Canned::status(405)),
            stream: RefCell::default(),
            endpoint: RefCell::new("/messages?c=$C".to_owned()),
            refuses: RefCell::default(),
            held_back_ms: Cell::default(),
            before: RefCell::default(),
            feeds: RefCell::default(),
        })
    }

    pub fn answering(self: &Rc<Self>) -> impl FnMut(&Sent) -> Canned + 'static {
        let server = self.clone();
        let mut answers = self.mcp.answering();
        move |sent| server.answer(sent, &mut answers)
    }

    /// The last connection.
    pub fn feed(&self) -> Feed {
        self.feeds.borrow().last().expect("a connection").clone()
    }

    fn answer(&self, sent: &Sent, answers: &mut dyn FnMut(&Sent) -> Canned) -> Canned {
        match (sent.verb, &sent.to) {
            (Verb::Get, None) => self.connect(),
            (Verb::Post, Some(to)) => self.posted(sent, to, answers),
            (Verb::Post, None) => self.own_address.borrow().clone(),
            // It has no sessions; a test may have it take the place of a server that had.
            (Verb::Delete, None) => Canned::status(405),
            other => panic!("{other:?}"),
        }
    }

    fn connect(&self) -> Canned {
        if let Some(canned) = &*self.stream.borrow() {
            return canned.clone();
        }
        let feed = Feed::default();
        let number = self.feeds.borrow().len().to_string();
        feed.push(named(
            "endpoint",
            &self.endpoint.borrow().replace("$C", &number),
        ));
        self.feeds.borrow_mut().push(feed.clone());
        Canned::events(vec![Piece::Feed(feed)])
    }

    fn posted(&self, sent: &Sent, to: &str, answers: &mut dyn FnMut(&Sent) -> Canned) -> Canned {
        let number: usize = to
            .rsplit_once("c=")
            .expect("its endpoint")
            .1
            .parse()
            .unwrap();
        let feed = self.feeds.borrow()[number].clone();
        if let Some((method, canned)) = &*self.refuses.borrow()
            && *method == sent.method()
        {
            return canned.clone();
        }
        if let Some((method, first)) = &*self.before.borrow()
            && *method == sent.method()
        {
            feed.push(message(first));
        }
        let said = answers(sent);
        for piece in said.pieces {
            match (said.kind, piece) {
                (BodyKind::Json, Piece::Bytes(bytes)) => {
                    feed.push(named("message", &String::from_utf8(bytes).unwrap()));
                }
                (BodyKind::Events, piece) => feed.push(piece),
                _ => {}
            }
        }
        Canned::status(202).after(self.held_back_ms.get())
    }
}

/// A portal with one such server, `jira`, at `http://127.0.0.1:9101/mcp`.
pub fn line_scene(transport: &str, era: &str) -> (Scene, Rc<LineServer>) {
    let mut document = document();
    document["portals"]["main"]["servers"] = json!(["jira"]);
    document["servers"]["jira"]["transport"] = transport.into();
    document["servers"]["jira"]["era"] = era.into();
    document["servers"]["jira"]["timeout_ms"] = 4_000.into();
    let scene = Scene::of(&document, Speaks::Legacy, Speaks::Legacy);
    let server = LineServer::new();
    scene.world.upstreams.serve("jira", server.answering());
    (scene, server)
}

/// The same, listed before.
pub fn known_line() -> (Scene, Rc<LineServer>) {
    let (scene, server) = line_scene("auto", "auto");
    (scene.synced(), server)
}
