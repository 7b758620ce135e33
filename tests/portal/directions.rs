//! What servers send to clients: every method, on either stream, to every kind of client.

use portcullis::limits::CLIENT_EVENT_BYTES_MAX;
use portcullis::mcp::Era;
use portcullis::portal::{hold, session};
use serde_json::{Value, json};

use super::bridge::{CAPABILITIES, asking, call};
use super::mcp_server::Speaks;
use super::scene::{Got, Scene, request};
use super::upstreams::{Canned, Piece, event};

/// Who has called when a legacy server asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// Legacy, in a session.
    Session,
    /// Legacy, without one.
    Bare,
    /// Modern, declaring what it can be asked; in the object of its calls.
    Asked,
    /// Modern, declaring nothing.
    Silent,
}

const CLIENTS: [Client; 4] = [Client::Session, Client::Bare, Client::Asked, Client::Silent];

/// What becomes of a server's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The client gets it, under another id.
    Passed,
    /// The client gets it as a result.
    Parked,
    /// The server is told that there is nobody.
    Declined,
    /// The portal answers it.
    Answered,
    /// Nobody hears of it.
    Left,
}

fn params_of(method: &str) -> Value {
    match method {
        "elicitation/create" => json!({"message":"?","requestedSchema":{"type":"object"}}),
        "sampling/createMessage" => json!({"messages":[],"maxTokens":1}),
        _ => json!({}),
    }
}

const METHODS: [&str; 6] = [
    "elicitation/create",
    "sampling/createMessage",
    "roots/list",
    "ping",
    "tools/call",
    "unknown/method",
];

fn fate(client: Client, method: &str, in_call: bool) -> Fate {
    let is_question = matches!(
        method,
        "elicitation/create" | "sampling/createMessage" | "roots/list"
    );
    match client {
        // A session's client answers whatever its server asks.
        Client::Session => Fate::Passed,
        // Nobody listens beside the call.
        Client::Bare | Client::Silent if !in_call => Fate::Left,
        Client::Asked if is_question => Fate::Parked,
        Client::Asked | Client::Silent if method == "ping" => Fate::Answered,
        Client::Bare | Client::Asked | Client::Silent => Fate::Declined,
    }
}

fn scene(client: Client) -> Scene {
    let scene = Scene::new(Speaks::Legacy, Speaks::Legacy).synced();
    let era = match client {
        Client::Session => {
            scene.world.with_session();
            Era::Legacy
        }
        Client::Bare => Era::Legacy,
        Client::Asked => {
            scene.world.as_bridge(CAPABILITIES);
            Era::Modern
        }
        Client::Silent => Era::Modern,
    };
    scene.call(era, "jira_get");
    scene.world.clear();
    scene
}

/// Calls while the server says something, and does not end its stream.
fn calls(scene: &Scene, client: Client, said: &[Value]) -> Got {
    let text: String = said.iter().map(event).collect();
    let pieces = vec![Piece::Bytes(text.into_bytes()), Piece::Hang];
    scene.jira.will_answer(Canned::events(pieces));
    match client {
        Client::Session | Client::Bare => {
            let body = request(
                Era::Legacy,
                "tools/call",
                json!({"name":"jira_get","arguments":{}}),
            );
            scene.send("alice", Era::Legacy, &body)
        }
        Client::Asked => scene.send("alice", Era::Modern, &call("jira_get")),
        Client::Silent => {
            let mut body = asking(call("jira_get"));
            body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
            scene.send("alice", Era::Modern, &body)
        }
    }
}

/// What the client sees within a while.
fn seen(scene: &Scene, got: &mut Got) -> Vec<Value> {
    if !got.is_stream() {
        return vec![got.json().clone()];
    }
    let soon = scene.world.timers.now_ms() + 2_000;
    let mut seen = Vec::new();
    while let Some(Some(message)) = got.next_until(soon) {
        seen.push(message);
    }
    seen
}

fn assert_fate(scene: &Scene, client: Client, fate: Fate, asked: &Value, seen: &[Value]) {
    let what = format!("{client:?} {fate:?} {asked}");
    let replies = scene.world.upstreams.of("response");
    match fate {
        Fate::Passed => {
            assert_eq!(seen.len(), 1, "{what}");
            assert_eq!(seen[0]["method"], asked["method"], "{what}");
            assert_ne!(seen[0]["id"], asked["id"], "{what}");
        }
        Fate::Parked => {
            let requests = seen[0]["result"]["inputRequests"].as_object().unwrap();
            let (_, request) = requests.iter().next().unwrap();
            assert_eq!(request["method"], asked["method"], "{what}");
        }
        Fate::Declined => {
            assert_eq!(replies[0].json()["error"]["code"], -32601, "{what}");
        }
        Fate::Answered => assert_eq!(replies[0].json()["result"], json!({}), "{what}"),
        Fate::Left => {}
    }
    let is_told = matches!(fate, Fate::Declined | Fate::Answered);
    assert_eq!(replies.len(), usize::from(is_told), "{what}");
    assert!(
        replies
            .iter()
            .all(|reply| reply.json()["id"] == asked["id"])
    );
    let is_shown = matches!(fate, Fate::Passed | Fate::Parked);
    assert_eq!(seen.len(), usize::from(is_shown), "{what}: {seen:?}");
}

#[test]
fn every_request_of_a_server_in_a_call_has_its_fate() {
    for client in CLIENTS {
        for method in METHODS {
            let scene = scene(client);
            let asked =
                json!({"jsonrpc":"2.0","id":"theirs","method":method,"params":params_of(method)});
            let mut got = calls(&scene, client, std::slice::from_ref(&asked));
            let seen = seen(&scene, &mut got);
            if client == Client::Asked {
                scene.world.play(10);
            } else {
                scene.world.settle();
            }
            assert_fate(&scene, client, fate(client, method, true), &asked, &seen);
        }
    }
}

#[test]
fn every_request_of_a_server_beside_calls_has_its_fate() {
    for client in CLIENTS {
        for method in METHODS {
            let scene = scene(client);
            let asked =
                json!({"jsonrpc":"2.0","id":"theirs","method":method,"params":params_of(method)});
            let mut got = calls(&scene, client, &[]);
            let (world, text) = (&scene.world, asked.to_string());
            let mut passed = Vec::new();
            match client {
                Client::Asked => world.run(hold::from_server(world, "jira", text.as_bytes())),
                _ => {
                    let message = session::from_server(world, "jira", text.as_bytes());
                    let message = world.run(message);
                    passed.extend(message.map(|m| serde_json::from_slice(&m).unwrap()));
                }
            }
            passed.extend(seen(&scene, &mut got));
            if client == Client::Asked {
                scene.world.play(10);
            } else {
                scene.world.settle();
            }
            assert_fate(&scene, client, fate(client, method, false), &asked, &passed);
        }
    }
}

/// No request of a server is larger than its client receives: the server is told, and asks something else.
#[test]
fn no_question_over_the_clients_bound_leaves() {
    let long = "x".repeat(CLIENT_EVENT_BYTES_MAX);
    let asked = json!({"jsonrpc":"2.0","id":"theirs","method":"elicitation/create","params":{"message":long}});
    for client in CLIENTS {
        let scene = scene(client);
        let mut got = calls(&scene, client, std::slice::from_ref(&asked));
        let seen = seen(&scene, &mut got);
        if client == Client::Asked {
            scene.world.play(10);
        } else {
            scene.world.settle();
        }
        assert!(seen.is_empty(), "{client:?}");
        let replies = scene.world.upstreams.of("response");
        assert_eq!(replies.len(), 1, "{client:?}");
        assert_eq!(replies[0].json()["error"]["code"], -32601, "{client:?}");
    }
    // On the session's stream there is no call to tell it in.
    let scene = scene(Client::Session);
    let text = asked.to_string();
    let world = &scene.world;
    assert_eq!(
        world.run(session::from_server(world, "jira", text.as_bytes())),
        None
    );
    assert_eq!(world.session().parked, []);
}
