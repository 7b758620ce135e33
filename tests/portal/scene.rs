//! A portal with servers behind it, and people who use it.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::stream::LocalBoxStream;
use portcullis::config::{self, Environment};
use portcullis::identity::{Principal, PrincipalKind};
use portcullis::mcp::{Era, Message, Revision, header_value};
use portcullis::policy::admit;
use portcullis::portal::caller::Active;
use portcullis::portal::ports::Catalogs as _;
use portcullis::portal::{Caller, Outgoing, Reply, ReplyBody, handle};
use serde_json::{Map, Value, json};

use super::mcp_server::{Mcp, Speaks};
use super::world::World;

pub struct Scene {
    pub world: World,
    pub active: Rc<Active>,
    /// The scene's servers: `jira` first, `wiki` second.
    pub jira: Rc<Mcp>,
    pub wiki: Rc<Mcp>,
    callers: Cell<u32>,
}

/// The progress token of [`Scene::call`].
pub const TOKEN: &str = "p";

/// The document of most scenes.
pub fn document() -> Value {
    let tools = json!({"default":"allow","deny":["secret_*"]});
    json!({
        "portals": {"main": {
            "servers": ["jira", "wiki"], "portal_tools": false,
            "access": [{"action":"allow","include":[{"email_domain":"acme.example"}]}],
        }},
        "servers": {
            "jira": {"url":"http://127.0.0.1:9101/mcp","tools":tools},
            "wiki": {"url":"http://127.0.0.1:9102/mcp","tools":tools},
        },
    })
}

pub fn active(revision: u64, document: &Value) -> Rc<Active> {
    let environment = Environment::from_variables(Some("1"), None).unwrap();
    let config = config::parse(document.to_string().as_bytes(), &environment)
        .unwrap_or_else(|errors| panic!("{errors:#?}"));
    Rc::new(Active { revision, config })
}

pub fn person(name: &str) -> Principal {
    Principal {
        kind: PrincipalKind::Person,
        subject: format!("idp|{name}"),
        email: Some(format!("{name}@acme.example")),
        groups: Vec::new(),
        client_id: Some("agent".to_owned()),
        issuer_id: "idp".to_owned(),
        claims: Map::new(),
        expires_at_ms: u64::MAX,
        audiences: Vec::new(),
    }
}

impl Scene {
    pub fn new(jira: Speaks, wiki: Speaks) -> Self {
        Self::of(&document(), jira, wiki)
    }

    pub fn of(document: &Value, jira: Speaks, wiki: Speaks) -> Self {
        let world = World::new();
        let jira = Mcp::new(jira).with_resources("jira");
        let wiki = Mcp::new(wiki).with_resources("wiki");
        world.upstreams.serve("jira", jira.answering());
        world.upstreams.serve("wiki", wiki.answering());
        let active = active(7, document);
        *world.active.borrow_mut() = Some(active.clone());
        Self {
            world,
            active,
            jira,
            wiki,
            callers: Cell::default(),
        }
    }

    /// The same with everything synced, and nothing sent or recorded yet.
    pub fn synced(self) -> Self {
        let got = self.ask("alice", Era::Legacy, "tools/list", json!({}));
        assert_eq!(got.status, 200);
        self.world.clear();
        self
    }

    /// Makes another document active; callers made from now on live under it.
    pub fn apply(&mut self, document: &Value) {
        self.active = active(self.active.revision + 1, document);
        *self.world.active.borrow_mut() = Some(self.active.clone());
    }

    pub fn caller(&self, name: &str, era: Era, body: &Value) -> Rc<Caller> {
        let portal = self.active.config.portal("main").unwrap().clone();
        let principal = Rc::new(person(name));
        let groups = &self.active.config.groups;
        let admission = admit(&principal, &portal, groups).expect("admitted");
        let headers = mirrored(body);
        Rc::new(Caller {
            principal,
            admission,
            portal,
            active: self.active.clone(),
            agent: Some("agent".to_owned()),
            request_id: self.next_request_id(),
            received_ms: self.world.timers.now_ms(),
            era,
            revision: match era {
                Era::Modern => Revision::LATEST_MODERN,
                Era::Legacy => Revision::LATEST_LEGACY,
            },
            request_bytes: body.to_string().len() as u64,
            sent_header: Rc::new(move |name| headers.get(&name.to_ascii_lowercase()).cloned()),
        })
    }

    /// As the edge makes them: never twice the same.
    fn next_request_id(&self) -> String {
        self.callers.set(self.callers.get() + 1);
        self.last_request_id()
    }

    /// The portal's own id of the last request.
    pub fn last_request_id(&self) -> String {
        format!("r{}", self.callers.get())
    }

    /// Asks as most clients of the era do, under the id 1.
    pub fn ask(&self, name: &str, era: Era, method: &str, params: Value) -> Got {
        self.send(name, era, &request(era, method, params))
    }

    pub fn call(&self, era: Era, tool: &str) -> Got {
        self.ask(
            "alice",
            era,
            "tools/call",
            json!({"name":tool,"arguments":{},"_meta":{"progressToken":TOKEN}}),
        )
    }

    pub fn send(&self, name: &str, era: Era, body: &Value) -> Got {
        let caller = self.caller(name, era, body);
        self.send_as(&caller, &body.to_string())
    }

    pub fn send_as(&self, caller: &Rc<Caller>, body: &str) -> Got {
        let message = Message::parse(body.as_bytes()).expect("a message");
        let reply = self.world.run(handle(&self.world, caller, &message));
        self.got(reply)
    }

    pub fn got(&self, reply: Reply<Vec<u8>>) -> Got {
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes).expect("JSON");
        Got {
            status: reply.status,
            body: match reply.body {
                ReplyBody::Empty => Body::Empty,
                ReplyBody::Json(bytes) => Body::Json(parse(&bytes), false),
                ReplyBody::Original(bytes) => Body::Json(parse(&bytes), true),
                ReplyBody::Events(events) => Body::Events(events),
            },
            world: self.world.clone(),
        }
    }

    /// A server's listing is known to be old.
    pub fn outdate(&self, server: &str) {
        self.world.timers.run(self.world.outdate(server));
    }

    pub fn rows(&self) -> Vec<String> {
        self.world.ledger.lines()
    }

    pub fn sent(&self) -> Vec<String> {
        self.world.upstreams.lines()
    }
}

/// A request of an era under the id 1.
pub fn request(era: Era, method: &str, mut params: Value) -> Value {
    if era == Era::Modern {
        let meta = &mut params["_meta"];
        if meta.is_null() {
            *meta = json!({});
        }
        meta["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        let capabilities = &mut meta["io.modelcontextprotocol/clientCapabilities"];
        if capabilities.is_null() {
            *capabilities = json!({});
        }
    }
    json!({"jsonrpc":"2.0","id":1,"method":method,"params":params})
}

/// The headers a modern client mirrors its body in.
fn mirrored(body: &Value) -> HashMap<String, String> {
    let mut headers = HashMap::from([("mcp-protocol-version".to_owned(), "2026-07-28".to_owned())]);
    let method = body["method"].as_str().unwrap_or_default();
    headers.insert("mcp-method".to_owned(), method.to_owned());
    let params = &body["params"];
    let target = match method {
        "resources/read" => &params["uri"],
        "tasks/get" | "tasks/update" | "tasks/cancel" => &params["taskId"],
        _ => &params["name"],
    };
    if let Some(target) = target.as_str() {
        let target = header_value::encode(target).into_owned();
        headers.insert("mcp-name".to_owned(), target);
    }
    headers
}

/// What a client got.
pub struct Got {
    pub status: u16,
    pub body: Body,
    world: World,
}

pub enum Body {
    Empty,
    /// The message, and whether it is the upstream's own body.
    Json(Value, bool),
    Events(LocalBoxStream<'static, Outgoing>),
}

impl Got {
    #[track_caller]
    pub fn json(&self) -> &Value {
        match &self.body {
            Body::Json(value, _) => value,
            Body::Empty => panic!("an empty body, status {}", self.status),
            Body::Events(_) => panic!("a stream"),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.body, Body::Empty)
    }

    pub fn is_stream(&self) -> bool {
        matches!(self.body, Body::Events(_))
    }

    #[track_caller]
    pub fn result(&self) -> &Value {
        &self.json()["result"]
    }

    #[track_caller]
    pub fn code(&self) -> i64 {
        let json = self.json();
        json["error"]["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("no error: {json}"))
    }

    /// The next message of a stream; nothing at its end. Keep-alives are none.
    #[track_caller]
    pub fn next(&mut self) -> Option<Value> {
        let Body::Events(events) = &mut self.body else {
            panic!("no stream")
        };
        loop {
            match self.world.run(events.next())? {
                Outgoing::Message(bytes) => {
                    return Some(serde_json::from_slice(&bytes).expect("JSON"));
                }
                Outgoing::KeepAlive => {}
            }
        }
    }

    /// The next message of a stream, or nothing where none comes until a moment.
    #[track_caller]
    pub fn next_until(&mut self, until_ms: u64) -> Option<Option<Value>> {
        let Body::Events(events) = &mut self.body else {
            panic!("no stream")
        };
        loop {
            match self.world.run_until(events.next(), until_ms)? {
                Some(Outgoing::Message(bytes)) => {
                    return Some(Some(serde_json::from_slice(&bytes).expect("JSON")));
                }
                Some(Outgoing::KeepAlive) => {}
                None => return Some(None),
            }
        }
    }

    /// The stream itself.
    #[track_caller]
    pub fn events(&mut self) -> &mut LocalBoxStream<'static, Outgoing> {
        match &mut self.body {
            Body::Events(events) => events,
            _ => panic!("no stream"),
        }
    }

    /// The next message of a stream, or nothing where none comes until a moment, while all else goes on.
    #[track_caller]
    pub fn next_beside(&mut self, until_ms: u64) -> Option<Option<Value>> {
        let Body::Events(events) = &mut self.body else {
            panic!("no stream")
        };
        loop {
            match self.world.alongside(events.next(), until_ms)? {
                Some(Outgoing::Message(bytes)) => {
                    return Some(Some(serde_json::from_slice(&bytes).expect("JSON")));
                }
                Some(Outgoing::KeepAlive) => {}
                None => return Some(None),
            }
        }
    }

    /// Everything on a stream until its end, and when it came: the message, or nothing for a keep-alive.
    #[track_caller]
    pub fn timed(self) -> Vec<(u64, Option<Value>)> {
        let Body::Events(mut events) = self.body else {
            panic!("no stream")
        };
        let timers = &self.world.timers;
        std::iter::from_fn(|| {
            let message = match self.world.run(events.next())? {
                Outgoing::Message(bytes) => Some(serde_json::from_slice(&bytes).expect("JSON")),
                Outgoing::KeepAlive => None,
            };
            Some((timers.now_ms(), message))
        })
        .collect()
    }

    /// Everything a client receives, however it is framed.
    #[track_caller]
    pub fn messages(mut self) -> Vec<Value> {
        match &self.body {
            Body::Empty => Vec::new(),
            Body::Json(value, _) => vec![value.clone()],
            Body::Events(_) => std::iter::from_fn(|| self.next()).collect(),
        }
    }
}
