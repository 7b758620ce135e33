//! Tasks: what a call becomes, and what may be asked about it later, by whom.

use std::rc::Rc;

use portcullis::limits::TASK_ID_BYTES_MAX;
use portcullis::mcp::Era;
use portcullis::portal::Caller;
use serde_json::{Value, json};

use super::ledger::Break;
use super::mcp_server::{Speaks, rpc_error};
use super::scene::{Got, Scene, document, request};
use super::tasks_refused::assert_refused;
use super::upstreams::{Canned, Sent};
use portcullis::portal::ports::BodyKind;

pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";
pub const METHODS: [&str; 3] = ["tasks/get", "tasks/update", "tasks/cancel"];
pub const TOOL_RULE: &str = "portals.main/servers.jira.tools.default";

/// Servers of which `jira` makes tasks of calls.
pub fn scene() -> Scene {
    of(&document())
}

pub fn of(document: &Value) -> Scene {
    let scene = Scene::of(document, Speaks::Modern, Speaks::Modern);
    scene.jira.tasks.set(true);
    scene.synced()
}

/// A client that declares the extension.
pub fn declaring(mut params: Value) -> Value {
    let declared = json!({"extensions":{EXTENSION:{}},"elicitation":{}});
    params["_meta"] = json!({"io.modelcontextprotocol/clientCapabilities":declared});
    params
}

pub fn ask(scene: &Scene, who: &str, method: &str, params: Value) -> Got {
    scene.ask(who, Era::Modern, method, declaring(params))
}

pub fn call(scene: &Scene, tool: &str) -> Got {
    ask(
        scene,
        "alice",
        "tools/call",
        json!({"name":tool,"arguments":{}}),
    )
}

/// What a server answers to a call that becomes a task.
pub fn created(id: &str, ttl_ms: Value) -> Value {
    json!({"jsonrpc":"2.0","id":"$ID","result":{
        "resultType":"task","taskId":id,"status":"working","ttlMs":ttl_ms,"pollIntervalMs":5,
        "createdAt":"2026-07-28T10:30:00Z","lastUpdatedAt":"2026-07-28T10:30:00Z",
    }})
}

/// A call that became a task, by the id the client has for it.
pub fn begun(scene: &Scene, tool: &str, id: &str) -> String {
    begun_for(scene, tool, id, json!(60_000))
}

pub fn begun_for(scene: &Scene, tool: &str, id: &str, ttl_ms: Value) -> String {
    scene.jira.will_answer(Canned::json(created(id, ttl_ms)));
    let got = call(scene, tool);
    let sealed = got.result()["taskId"]
        .as_str()
        .unwrap_or_else(|| panic!("no task: {}", got.json()))
        .to_owned();
    scene.world.clear();
    sealed
}

pub fn about(method: &str, sealed: &str) -> Value {
    let mut params = json!({"taskId":sealed});
    if method == "tasks/update" {
        params["inputResponses"] = json!({"q":{"action":"accept","content":{"a":1.0}}});
    }
    params
}

pub fn only(sent: Vec<Sent>) -> Sent {
    assert_eq!(sent.len(), 1, "{sent:?}");
    sent.into_iter().next().unwrap()
}

#[test]
fn the_portal_declares_what_a_server_of_it_does() {
    for (speaks, tasks, down, declared) in [
        (Speaks::Modern, true, false, true),
        (Speaks::Both, true, false, true),
        (Speaks::Modern, false, false, false),
        (Speaks::Legacy, true, false, false),
        (Speaks::Modern, true, true, false),
    ] {
        let scene = Scene::new(speaks, Speaks::Modern);
        scene.jira.tasks.set(tasks);
        scene.jira.down.set(down.then_some(500));
        let got = scene.ask("alice", Era::Modern, "server/discover", json!({}));
        let capabilities = &got.result()["capabilities"];
        let expected = if declared {
            json!({EXTENSION:{}})
        } else {
            Value::Null
        };
        let what = format!("{speaks:?} {tasks} {down}");
        assert_eq!(capabilities["extensions"], expected, "{what}");
        assert_eq!(capabilities["tasks"], Value::Null);
        let params = json!({"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}});
        let got = scene.ask("alice", Era::Legacy, "initialize", params);
        assert_eq!(got.result()["capabilities"]["extensions"], Value::Null);
    }
}

#[test]
fn only_servers_that_have_the_extension_hear_that_the_client_has_it() {
    let capabilities = "io.modelcontextprotocol/clientCapabilities";
    for (declared, tool, expected) in [
        (
            json!({EXTENSION:{},"a/b":{}}),
            "jira_get",
            json!({EXTENSION:{},"a/b":{}}),
        ),
        (
            json!({EXTENSION:{},"a/b":{}}),
            "wiki_get",
            json!({"a/b":{}}),
        ),
        (json!({EXTENSION:null}), "jira_get", json!({})),
        (json!({"a/b":{}}), "jira_get", json!({"a/b":{}})),
    ] {
        let scene = scene();
        let meta = json!({capabilities:{"extensions":declared}});
        let params = json!({"name":tool,"arguments":{},"_meta":meta});
        scene.ask("alice", Era::Modern, "tools/call", params);
        let sent = only(scene.world.upstreams.of("tools/call")).json();
        assert_eq!(
            sent["params"]["_meta"][capabilities],
            json!({"extensions":expected}),
            "{tool} {declared}"
        );
    }
}

#[test]
fn a_call_becomes_a_task_under_an_id_of_the_clients_own() {
    for streamed in [false, true] {
        let scene = scene();
        let answer = created("T-1", json!(60_000));
        scene.jira.will_answer(if streamed {
            Canned::messages(std::slice::from_ref(&answer))
        } else {
            Canned::json(answer.clone())
        });
        let got = call(&scene, "jira_set");
        let mut expected = answer["result"].clone();
        let sealed = got.result()["taskId"].clone();
        assert!(!sealed.as_str().unwrap().contains("T-1"));
        expected["taskId"] = sealed;
        assert_eq!(*got.result(), expected);
        assert_eq!(scene.rows(), ["intent pending -", "outcome ok task"]);
    }
}

#[test]
fn nobody_else_gets_a_task() {
    let plain = |name: &str| json!({"name":name,"arguments":{}});
    let table = [
        ("tools/call", plain("jira_get"), "did not declare it"),
        (
            "tools/call",
            declaring(plain("wiki_get")),
            "its server did not",
        ),
        (
            "prompts/get",
            declaring(json!({"name":"jira_greet"})),
            "is no call",
        ),
        (
            "resources/read",
            declaring(json!({"uri":"jira://a"})),
            "is no call",
        ),
    ];
    for (method, params, why) in table {
        for name in ["task", "t\\u0061sk"] {
            let scene = scene();
            let answer = created("T-1", json!(1))
                .to_string()
                .replace("\"task\"", &format!("\"{name}\""));
            for server in [&scene.jira, &scene.wiki] {
                server.will_answer(Canned::with(200, BodyKind::Json, answer.clone()));
            }
            let got = scene.ask("alice", Era::Modern, method, params.clone());
            assert_eq!(got.code(), -32000, "{why}");
            assert!(!got.json().to_string().contains("T-1"));
            assert_eq!(
                scene.rows(),
                ["outcome upstream_failed upstream_bad_answer"],
                "{why}"
            );
        }
    }
    // Nor does a client of the older era.
    let scene = scene();
    scene
        .jira
        .will_answer(Canned::json(created("T-1", json!(1))));
    let got = scene.ask(
        "alice",
        Era::Legacy,
        "tools/call",
        declaring(plain("jira_get")),
    );
    assert_eq!(got.code(), -32000);
}

#[test]
fn a_task_that_nobody_could_ask_about_is_a_faulty_answer() {
    for id in [
        json!(""),
        json!(7),
        json!(null),
        json!("x".repeat(TASK_ID_BYTES_MAX + 1)),
    ] {
        let scene = scene();
        let mut answer = created("", json!(1));
        answer["result"]["taskId"] = id.clone();
        scene.jira.will_answer(Canned::json(answer));
        assert_eq!(call(&scene, "jira_set").code(), -32000, "{id}");
        let expected = [
            "intent pending -",
            "outcome upstream_failed upstream_bad_answer",
        ];
        assert_eq!(scene.rows(), expected);
    }
    let scene = scene();
    let mut answer = created("", json!(1));
    answer["result"].as_object_mut().unwrap().remove("taskId");
    scene.jira.will_answer(Canned::json(answer));
    assert_eq!(call(&scene, "jira_set").code(), -32000);
}

/// (method, tool, whether it counts as a write)
fn permitted() -> [(&'static str, &'static str, bool); 6] {
    [
        ("tasks/get", "set", false),
        ("tasks/update", "set", true),
        ("tasks/cancel", "set", true),
        ("tasks/get", "get", false),
        ("tasks/update", "get", false),
        ("tasks/cancel", "get", false),
    ]
}

#[test]
fn a_task_is_asked_about_under_the_servers_own_id() {
    for own in ["T-1", "tâche \"é\"", &"x".repeat(TASK_ID_BYTES_MAX)] {
        for (method, tool, is_write) in permitted() {
            let scene = scene();
            let sealed = begun(&scene, &format!("jira_{tool}"), own);
            let answer = json!({"jsonrpc":"2.0","id":"$ID","result":{"resultType":"complete"}});
            scene.jira.will_answer(Canned::json(answer));
            let got = ask(&scene, "alice", method, about(method, &sealed));
            assert_eq!(*got.result(), json!({"resultType":"complete"}));
            let sent = only(scene.world.upstreams.sent.borrow().clone());
            assert_eq!((&*sent.server, sent.method().as_str()), ("jira", method));
            let mut expected = request(Era::Modern, method, declaring(about(method, &sealed)));
            expected["params"]["taskId"] = own.into();
            assert_eq!(sent.json(), expected, "nothing else changed");
            let header = portcullis::mcp::header_value::encode(own).into_owned();
            assert_eq!(sent.header("Mcp-Name"), Some(&*header));
            assert_eq!(sent.header("Mcp-Method"), Some(method));
            assert_eq!((&*sent.rule, sent.is_write), (TOOL_RULE, is_write));
            let rows: &[&str] = if is_write {
                &["intent pending -", "outcome ok -"]
            } else {
                &["outcome ok -"]
            };
            assert_eq!(scene.rows(), rows, "{method} {tool}");
            for row in scene.world.ledger.rows() {
                assert_eq!(row.method, method);
                assert_eq!(row.server.as_deref(), Some("jira"));
                assert_eq!(row.target.as_deref(), Some(tool));
                assert_eq!(row.rule.as_deref(), Some(TOOL_RULE));
                assert_eq!(row.is_write, is_write);
            }
        }
    }
}

#[test]
fn what_is_told_of_a_task_is_told_under_the_clients_id() {
    let states = [
        json!({"status":"working"}),
        json!({"status":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{}}}}),
        json!({"status":"completed","result":{"content":[],"isError":true,"taskId":"T-1","n":1.0}}),
        json!({"status":"failed","error":{"code":-32603,"message":"T-1 \u{e9}"}}),
        json!({"status":"cancelled"}),
    ];
    for (state, has_type, streamed) in states.iter().flat_map(|state| {
        [
            (state, true, false),
            (state, false, false),
            (state, true, true),
        ]
    }) {
        let scene = scene();
        let sealed = begun(&scene, "jira_set", "T-1");
        let mut told = state.clone();
        told["taskId"] = "T-1".into();
        if has_type {
            told["resultType"] = "complete".into();
        }
        let answer = json!({"jsonrpc":"2.0","id":"$ID","result":told});
        scene.jira.will_answer(if streamed {
            Canned::messages(&[answer])
        } else {
            Canned::json(answer)
        });
        let got = ask(&scene, "alice", "tasks/get", json!({"taskId":sealed}));
        let mut expected = state.clone();
        expected["taskId"] = sealed.into();
        expected["resultType"] = "complete".into();
        assert_eq!(*got.result(), expected);
        assert_eq!(scene.rows(), ["outcome ok -"]);
    }
}

#[test]
fn an_answer_that_is_not_about_the_task_is_faulty() {
    for told in [
        json!({"resultType":"complete","taskId":"T-2","status":"completed","result":{"secret":1}}),
        json!({"resultType":"complete","taskId":7}),
        json!({"resultType":"task","taskId":"T-1","status":"working"}),
    ] {
        let scene = scene();
        let sealed = begun(&scene, "jira_set", "T-1");
        let answer = json!({"jsonrpc":"2.0","id":"$ID","result":told});
        scene.jira.will_answer(Canned::json(answer));
        let got = ask(&scene, "alice", "tasks/get", json!({"taskId":sealed}));
        assert_eq!(got.code(), -32000, "{told}");
        let expected = ["outcome upstream_failed upstream_bad_answer"];
        assert_eq!(scene.rows(), expected, "{told}");
    }
}

#[test]
fn a_servers_own_refusal_passes() {
    for method in METHODS {
        let scene = scene();
        let sealed = begun(&scene, "jira_get", "T-1");
        let error = rpc_error(&json!(1), -32602, "Task has expired");
        scene
            .jira
            .will_answer(Canned::with(400, BodyKind::Json, error));
        let got = ask(&scene, "alice", method, about(method, &sealed));
        assert_eq!((got.status, got.code()), (400, -32602));
        assert_eq!(got.json()["error"]["message"], "Task has expired");
        assert_eq!(scene.rows(), ["outcome rpc_error -"]);
    }
}

#[test]
fn headers_name_the_task() {
    for method in METHODS {
        let scene = scene();
        let sealed = begun(&scene, "jira_get", "T-1");
        let body = request(Era::Modern, method, declaring(about(method, &sealed)));
        for header in [None, Some("T-1".to_owned())] {
            let caller = scene.caller("alice", Era::Modern, &body);
            let sent = caller.sent_header.clone();
            let lying = Rc::new(Caller {
                sent_header: Rc::new(move |name| {
                    if name == "Mcp-Name" {
                        header.clone()
                    } else {
                        sent(name)
                    }
                }),
                ..(*caller).clone()
            });
            let got = scene.send_as(&lying, &body.to_string());
            assert_refused(&scene, &got, (400, -32020), "header_mismatch", method);
            scene.world.clear();
        }
    }
}

#[test]
fn an_answer_to_a_task_is_on_record_before_it_leaves() {
    for method in ["tasks/update", "tasks/cancel"] {
        let scene = scene();
        let sealed = begun(&scene, "jira_set", "T-1");
        scene.world.ledger.break_next(&[Some(Break::Before)]);
        let got = ask(&scene, "alice", method, about(method, &sealed));
        assert_eq!(got.status, 503);
        assert_eq!(scene.sent(), [""; 0], "{method}");
        scene.world.clear();

        let got = ask(&scene, "alice", method, about(method, &sealed));
        assert_eq!(got.status, 200);
        let send = format!("send jira {method}");
        let steps = ["durable intent pending", &send, "durable outcome ok"];
        assert_eq!(scene.world.steps(), steps);
        scene.world.clear();

        scene.world.store_away.set(true);
        let got = ask(&scene, "alice", method, about(method, &sealed));
        assert_eq!(got.status, 503);
        assert_eq!(scene.sent(), [""; 0], "{method}");
        scene.world.clear();
        let got = ask(&scene, "alice", "tasks/get", about("tasks/get", &sealed));
        assert_eq!(got.status, 200, "looking goes on");
    }
}

/// Questions first, then the task: the two keep apart.
#[test]
fn a_retry_may_become_a_task() {
    let scene = scene();
    let question = json!({"jsonrpc":"2.0","id":"$ID","result":{
        "resultType":"input_required","requestState":"s","inputRequests":{"q":{"method":"elicitation/create","params":{}}},
    }});
    scene.jira.will_answer(Canned::json(question));
    let got = call(&scene, "jira_set");
    let state = got.result()["requestState"].clone();
    assert_eq!(got.result()["taskId"], Value::Null);
    scene
        .jira
        .will_answer(Canned::json(created("T-1", json!(1))));
    let params = json!({"name":"jira_set","arguments":{},"requestState":state,"inputResponses":{"q":{"action":"accept"}}});
    let got = ask(&scene, "alice", "tools/call", params);
    assert_eq!(got.result()["resultType"], "task");
    assert_eq!(got.result()["requestState"], Value::Null);
    let sealed = got.result()["taskId"].as_str().unwrap().to_owned();
    scene.world.clear();
    ask(&scene, "alice", "tasks/get", json!({"taskId":sealed}));
    let sent = only(scene.world.upstreams.of("tasks/get"));
    assert_eq!(sent.json()["params"]["taskId"], "T-1");
}

/// On the stream of a call nothing is told about tasks: the client knows them by other ids.
#[test]
fn a_calls_own_stream_tells_nothing_of_tasks() {
    let scene = scene();
    let told = json!({"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"T-1","status":"working"}});
    let answer = created("T-1", json!(1));
    scene.jira.will_answer(Canned::messages(&[told, answer]));
    let messages = call(&scene, "jira_set").messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!(messages[0]["result"]["resultType"], "task");
}

/// A server with two tools of one name prefix: the id keeps to the tool that made it.
#[test]
fn two_tasks_of_one_id_keep_apart() {
    let scene = scene();
    scene.wiki.tasks.set(true);
    scene.world.catalogs.kept.borrow_mut().clear();
    let jira = begun(&scene, "jira_get", "T-1");
    scene
        .wiki
        .will_answer(Canned::json(created("T-1", json!(1))));
    let wiki = call(&scene, "wiki_get").result()["taskId"].clone();
    let wiki = wiki.as_str().unwrap();
    assert_ne!(jira, wiki);
    for (sealed, server) in [(jira.as_str(), "jira"), (wiki, "wiki")] {
        scene.world.clear();
        ask(&scene, "alice", "tasks/get", json!({"taskId":sealed}));
        assert_eq!(scene.sent(), [format!("{server} tasks/get")]);
    }
}
