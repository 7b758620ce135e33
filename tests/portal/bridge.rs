//! A modern client whose calls on a legacy server are held in an object, and the server that asks in the middle of them.

use std::cell::Cell;

use futures::future::join;
use portcullis::mcp::{Era, Message};
use portcullis::portal::handle;
use serde_json::{Map, Value, json};

use super::live::Live;
use super::mcp_server::Speaks;
use super::scene::{Got, Scene, TOKEN, document, request};
use super::upstreams::Canned;

/// What the client declares with each request.
pub const CAPABILITIES: &str = r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{}}"#;

/// The progress token of retries.
pub const RETRY_TOKEN: &str = "q";

pub struct Bridge {
    pub scene: Scene,
    /// The stream of the next call.
    pub live: Live,
    retries: Cell<u32>,
}

/// What a client was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub state: String,
    /// By key, in the order of the keys.
    pub requests: Vec<(String, Value)>,
}

impl Asked {
    /// An answer to every question, the same for all.
    pub fn all(&self, answer: &Value) -> Value {
        let answers = self
            .requests
            .iter()
            .map(|(key, _)| (key.clone(), answer.clone()));
        Value::Object(answers.collect::<Map<_, _>>())
    }

    pub fn key(&self, index: usize) -> &str {
        &self.requests[index].0
    }
}

impl Bridge {
    /// With a session with `jira` open, and nothing sent or recorded yet.
    pub fn new() -> Self {
        Self::of(&document())
    }

    pub fn of(document: &Value) -> Self {
        let scene = Scene::of(document, Speaks::Legacy, Speaks::Legacy).synced();
        scene.world.as_bridge(CAPABILITIES);
        scene.call(Era::Modern, "jira_get");
        scene.world.clear();
        Self {
            scene,
            live: Live::default(),
            retries: Cell::default(),
        }
    }

    /// Calls a tool, whose stream is [`Bridge::live`].
    pub fn call(&self, tool: &str) -> Got {
        self.call_of(&call(tool))
    }

    pub fn call_of(&self, body: &Value) -> Got {
        let live = self.live.clone();
        self.scene
            .jira
            .will_reply(move |request| live.opened(request));
        self.scene.send("alice", Era::Modern, body)
    }

    /// Calls a tool that asks one form, and what the client got.
    pub fn asked(&self, tool: &str) -> Asked {
        self.live.say(&form(5));
        asked(&self.call(tool))
    }

    /// Has the server end the call when it was answered.
    pub fn ends_when_answered(&self) {
        let live = self.live.clone();
        self.scene.jira.when_answered(move |_| {
            live.say(&done());
            Canned::status(202)
        });
    }

    pub fn retry(&self, tool: &str, state: &str, responses: &Value) -> Got {
        let body = self.retry_body(tool, state, responses);
        self.scene.send("alice", Era::Modern, &body)
    }

    /// The same call with answers, under an id of its own.
    pub fn retry_body(&self, tool: &str, state: &str, responses: &Value) -> Value {
        self.retries.set(self.retries.get() + 1);
        let mut body = call(tool);
        body["id"] = format!("retry {}", self.retries.get()).into();
        body["params"]["requestState"] = state.into();
        body["params"]["inputResponses"] = responses.clone();
        body["params"]["_meta"]["progressToken"] = RETRY_TOKEN.into();
        body
    }

    /// Two retries with one state, at once.
    pub fn race(&self, tool: &str, first: &Asked) -> [Got; 2] {
        let bodies =
            [1, 2].map(|number| self.retry_body(tool, &first.state, &first.all(&accept(number))));
        let texts = bodies.each_ref().map(Value::to_string);
        let [one, other] = [0, 1].map(|index| {
            let caller = self.scene.caller("alice", Era::Modern, &bodies[index]);
            let (world, text) = (&self.scene.world, &texts[index]);
            async move {
                let message = Message::parse(text.as_bytes()).unwrap();
                handle(world, &caller, &message).await
            }
        });
        let (one, other) = self.scene.world.run(join(one, other));
        [one, other].map(|reply| self.scene.got(reply))
    }

    /// What the server got as answers: its own id, and the answer.
    pub fn delivered(&self) -> Vec<(Value, Value)> {
        let sent = self.scene.world.upstreams.of("response");
        let pair = |body: Value| (body["id"].clone(), body["result"].clone());
        sent.iter().map(|sent| pair(sent.json())).collect()
    }

    /// How often the call itself reached the server.
    pub fn calls(&self) -> usize {
        self.scene.world.upstreams.of("tools/call").len()
    }

    pub fn cancels(&self) -> Vec<Value> {
        let sent = self.scene.world.upstreams.of("notifications/cancelled");
        sent.iter()
            .map(|sent| sent.json()["params"]["requestId"].clone())
            .collect()
    }

    pub fn holds(&self) -> usize {
        self.scene.world.keeper.kept.borrow().holds()
    }

    /// Rows of calls in the object.
    pub fn kept(&self) -> usize {
        self.scene.world.keeper.calls.borrow().len()
    }
}

/// A call by a client that can be asked everything.
pub fn call(tool: &str) -> Value {
    let params = json!({"name":tool,"arguments":{"a":1},"_meta":{"progressToken":TOKEN}});
    asking(request(Era::Modern, "tools/call", params))
}

/// The same request by a client that can be asked everything.
pub fn asking(mut request: Value) -> Value {
    let declared: Value = serde_json::from_str(CAPABILITIES).unwrap();
    request["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = declared;
    request
}

#[track_caller]
pub fn asked(got: &Got) -> Asked {
    asked_in(got.json())
}

#[track_caller]
pub fn asked_in(message: &Value) -> Asked {
    let result = &message["result"];
    assert_eq!(result["resultType"], "input_required", "{message}");
    let requests = result["inputRequests"].as_object().unwrap();
    Asked {
        state: result["requestState"].as_str().unwrap().to_owned(),
        requests: requests
            .iter()
            .map(|(key, request)| (key.clone(), request.clone()))
            .collect(),
    }
}

pub fn question(id: Value, method: &str, params: Value) -> Value {
    json!({"jsonrpc":"2.0","id":id,"method":method,"params":params})
}

pub fn form(id: u64) -> Value {
    let params = json!({"message":format!("number {id}?"),"requestedSchema":{"type":"object"}});
    question(json!(id), "elicitation/create", params)
}

pub fn accept(number: u64) -> Value {
    json!({"action":"accept","content":{"number":number}})
}

/// The server's answer to the call.
pub fn done() -> Value {
    json!({"jsonrpc":"2.0","id":"$ID","result":{"content":[{"type":"text","text":"done"}]}})
}

pub fn progress(step: u64) -> Value {
    json!({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"$TOKEN","progress":step}})
}

pub fn logged(level: &str) -> Value {
    json!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":level,"data":"x"}})
}

#[track_caller]
pub fn assert_done(got: &Got) {
    assert_eq!(got.result()["content"][0]["text"], "done", "{}", got.json());
    assert_eq!(got.result()["resultType"], "complete");
}
