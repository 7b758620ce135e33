//! An MCP server as most are: it speaks one era or both, lists what it is given, and answers calls from a script.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use portcullis::portal::ports::{BodyKind, Verb};
use serde_json::{Value, json};

use super::upstreams::{Canned, Sent};

/// Which eras a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Modern,
    Legacy,
    Both,
}

type Scripted = Box<dyn FnOnce(&Value) -> Canned>;
type Hearing = Box<dyn FnMut(&Value) -> Canned>;

/// What a test changes or looks at while the server serves.
pub struct Mcp {
    pub speaks: Cell<Speaks>,
    pub tools: RefCell<Vec<Value>>,
    pub prompts: RefCell<Vec<Value>>,
    pub resources: RefCell<Vec<Value>>,
    pub templates: RefCell<Vec<Value>>,
    /// Members added to every page of a listing.
    pub page: RefCell<Value>,
    /// Answers to what is no handshake and no listing, in order; beyond them every call succeeds.
    script: RefCell<VecDeque<Scripted>>,
    /// What it does with answers to its own questions.
    hearing: RefCell<Option<Hearing>>,
    /// The last request: what a stream that is taken up again is about.
    asked: RefCell<Value>,
    /// The whole server hangs.
    pub hangs: Cell<bool>,
    /// The whole server answers this status.
    pub down: Cell<Option<u16>>,
    /// It declares the tasks extension.
    pub tasks: Cell<bool>,
    /// Without session ids, as stateless servers are.
    pub stateless: Cell<bool>,
    /// It declares that its resources can be subscribed to.
    pub subscribes: Cell<bool>,
    opened: Cell<u32>,
    known: RefCell<BTreeSet<String>>,
}

impl Mcp {
    pub fn new(speaks: Speaks) -> Rc<Self> {
        Rc::new(Self {
            speaks: Cell::new(speaks),
            tools: RefCell::new(vec![
                json!({"name":"get","description":"Reads","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}),
                json!({"name":"set","description":"Writes","inputSchema":{"type":"object"}}),
                json!({"name":"secret_get","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}),
            ]),
            prompts: RefCell::new(vec![json!({"name":"greet"})]),
            resources: RefCell::new(Vec::new()),
            templates: RefCell::new(Vec::new()),
            page: RefCell::new(json!({"ttlMs":300_000,"cacheScope":"public"})),
            script: RefCell::default(),
            hearing: RefCell::default(),
            asked: RefCell::default(),
            hangs: Cell::default(),
            down: Cell::default(),
            tasks: Cell::default(),
            stateless: Cell::default(),
            subscribes: Cell::new(true),
            opened: Cell::default(),
            known: RefCell::default(),
        })
    }

    /// With resources under one scheme.
    pub fn with_resources(self: Rc<Self>, scheme: &str) -> Rc<Self> {
        *self.resources.borrow_mut() = vec![json!({"uri":format!("{scheme}://a"),"name":"A"})];
        let template = json!({"uriTemplate":format!("{scheme}://page/{{id}}"),"name":"P"});
        *self.templates.borrow_mut() = vec![template];
        self
    }

    /// Answers with what is given, in which `"$ID"` and `"$TOKEN"` are those of the request as it was received.
    pub fn will_answer(&self, canned: Canned) {
        self.will_reply(move |request| canned.about(request));
    }

    /// Answers the request as it was received.
    pub fn will_reply(&self, reply: impl FnOnce(&Value) -> Canned + 'static) {
        self.script.borrow_mut().push_back(Box::new(reply));
    }

    /// Hears the client's answers to its own questions.
    pub fn when_answered(&self, hearing: impl FnMut(&Value) -> Canned + 'static) {
        *self.hearing.borrow_mut() = Some(Box::new(hearing));
    }

    /// Forgets every session, as a restart does.
    pub fn restart(&self) {
        self.known.borrow_mut().clear();
    }

    pub fn answering(self: &Rc<Self>) -> impl FnMut(&Sent) -> Canned + 'static {
        let server = self.clone();
        move |sent| server.answer(sent)
    }

    fn answer(&self, sent: &Sent) -> Canned {
        if self.hangs.get() {
            return Canned::hang();
        }
        if let Some(status) = self.down.get() {
            return Canned::status(status);
        }
        let body = sent.json();
        let method = sent.method();
        if body.get("id").is_some() && method != "response" {
            *self.asked.borrow_mut() = body.clone();
        }
        let is_modern = sent.header("MCP-Protocol-Version") == Some("2026-07-28");
        let speaks = self.speaks.get();
        match (is_modern, speaks) {
            (true, Speaks::Legacy) => {
                return Canned::with(
                    400,
                    BodyKind::Json,
                    rpc_error(&Value::Null, -32000, "Bad Request: no session"),
                );
            }
            (false, Speaks::Modern) => {
                return Canned::with(
                    400,
                    BodyKind::Json,
                    rpc_error(&body["id"], -32022, "Unsupported protocol version"),
                );
            }
            _ => {}
        }
        let result =
            |result: Value| Canned::json(json!({"jsonrpc":"2.0","id":body["id"],"result":result}));
        if method == "initialize" {
            return self.initialize(&body);
        }
        if !is_modern && !self.stateless.get() {
            let known = sent
                .header("Mcp-Session-Id")
                .is_some_and(|id| self.known.borrow().contains(id));
            if !known {
                return Canned::with(
                    404,
                    BodyKind::Json,
                    rpc_error(&Value::Null, -32001, "Session not found"),
                );
            }
        }
        match (sent.verb, method.as_str()) {
            (Verb::Get, _) if self.script.borrow().is_empty() => Canned::status(405),
            (Verb::Delete, _) => Canned::status(204),
            (_, "notifications/initialized") => Canned::status(202),
            (_, "server/discover") => {
                let mut capabilities = json!({"tools":{},"prompts":{},"resources":{"subscribe":self.subscribes.get()},"completions":{}});
                if self.tasks.get() {
                    capabilities["extensions"] = json!({"io.modelcontextprotocol/tasks":{}});
                }
                result(json!({
                    "resultType":"complete","supportedVersions":["2026-07-28"],
                    "capabilities":capabilities,
                    "ttlMs":0,"cacheScope":"public",
                    "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1"}},
                }))
            }
            (_, "logging/setLevel") => result(json!({})),
            (_, "tools/list") => result(self.listed("tools", &self.tools)),
            (_, "prompts/list") => result(self.listed("prompts", &self.prompts)),
            (_, "resources/list") => result(self.listed("resources", &self.resources)),
            (_, "resources/templates/list") => {
                result(self.listed("resourceTemplates", &self.templates))
            }
            (Verb::Post, "response") => match &mut *self.hearing.borrow_mut() {
                Some(hear) => hear(&body),
                None => Canned::status(202),
            },
            // A notification or an answer takes nothing that is meant for a request.
            (Verb::Post, _) if body.get("id").is_none() || method == "response" => {
                Canned::status(202)
            }
            _ => match self.next_scripted() {
                Some(reply) => reply(&self.asked.borrow()),
                None => {
                    let mut done = json!({"content":[{"type":"text","text":"done"}]});
                    if is_modern {
                        done["resultType"] = "complete".into();
                    }
                    result(done)
                }
            },
        }
    }

    fn next_scripted(&self) -> Option<Scripted> {
        self.script.borrow_mut().pop_front()
    }

    fn initialize(&self, body: &Value) -> Canned {
        let mut canned = Canned::json(json!({"jsonrpc":"2.0","id":body["id"],"result":{
            "protocolVersion":"2025-11-25",
            "capabilities":{"tools":{},"prompts":{},"resources":{"subscribe":self.subscribes.get()},"completions":{},"logging":{}},
            "serverInfo":{"name":"fake","version":"1"},
        }}));
        if !self.stateless.get() {
            self.opened.set(self.opened.get() + 1);
            let id = format!("s{}", self.opened.get());
            self.known.borrow_mut().insert(id.clone());
            canned.session_id = Some(id);
        }
        canned
    }

    fn listed(&self, member: &str, items: &RefCell<Vec<Value>>) -> Value {
        let mut page = self.page.borrow().clone();
        page[member] = items.borrow().clone().into();
        page
    }
}

pub fn rpc_error(id: &Value, code: i32, message: &str) -> String {
    json!({"jsonrpc":"2.0","id":id,"error":{"code":code,"message":message}}).to_string()
}
