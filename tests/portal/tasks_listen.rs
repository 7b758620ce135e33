//! Tasks on a listening stream: whose, under which ids, and for how long.

use portcullis::limits::{LISTEN_MS_MAX, SUBSCRIBE_MS_MAX, SUBSCRIPTIONS_MAX};
use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::{Got, Scene, active, document};
use super::tasks::{EXTENSION, ask, begun, scene};
use super::upstreams::{Canned, Piece, event};

const LISTEN: &str = "subscriptions/listen";

fn listen(scene: &Scene, who: &str, ids: &[&str]) -> Got {
    ask(scene, who, LISTEN, json!({"notifications":{"taskIds":ids}}))
}

fn acknowledged(ids: Value) -> Value {
    json!({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{
        "_meta":{"io.modelcontextprotocol/subscriptionId":"portcullis-listen-tasks"},
        "notifications":{"taskIds":ids},
    }})
}

fn told(params: Value) -> Value {
    json!({"jsonrpc":"2.0","method":"notifications/tasks","params":params})
}

fn bytes(messages: &[Value]) -> Piece {
    Piece::Bytes(messages.iter().map(event).collect::<String>().into_bytes())
}

/// A server's stream that tells what is given and then nothing.
fn tells(messages: &[Value]) -> Canned {
    Canned::events(vec![bytes(messages), Piece::Hang])
}

fn honoured(got: &mut Got) -> Value {
    let first = got.next().expect("an acknowledgment");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    first["params"]["notifications"].clone()
}

#[test]
fn a_push_reaches_the_client_under_its_own_ids() {
    let scene = scene();
    let sealed = begun(&scene, "jira_set", "T-1");
    let result = json!({"content":[{"type":"text","text":"é"}],"n":1.0,"taskId":"T-1"});
    scene.jira.will_answer(tells(&[
        acknowledged(json!(["T-1"])),
        told(json!({"taskId":"T-2","status":"working"})),
        told(json!({"taskId":"T-1","status":"working","_meta":{"x":1}})),
        json!({"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"T-1"}}),
        told(json!({"taskId":"T-1","status":"completed","result":result})),
        told(json!({"taskId":"T-1","status":"working"})),
    ]));
    let mut got = listen(&scene, "alice", &[&sealed, &sealed]);
    assert_eq!(honoured(&mut got), json!({"taskIds":[sealed]}));
    let sent = scene.world.upstreams.of(LISTEN);
    assert_eq!(sent.len(), 1);
    let params = &sent[0].json()["params"];
    assert_eq!(params["notifications"], json!({"taskIds":["T-1"]}));
    let declared = &params["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    assert_eq!(declared["extensions"], json!({EXTENSION:{}}));
    let meta = json!({"io.modelcontextprotocol/subscriptionId":1});
    let expected = [
        told(json!({"taskId":sealed,"status":"working","_meta":meta})),
        told(json!({"taskId":sealed,"status":"completed","result":result,"_meta":meta})),
    ];
    for message in expected {
        assert_eq!(got.next(), Some(message));
    }
    // Nothing follows the end of a task.
    let until = scene.world.timers.now_ms() + 60_000;
    assert_eq!(got.next_until(until), None);
    assert_eq!(scene.rows(), ["outcome ok -", "outcome ok -"]);
    let rows = scene.world.ledger.rows();
    let last = rows.last().unwrap();
    assert_eq!(last.method, "notifications/tasks");
    assert_eq!(
        (last.server.as_deref(), last.target.as_deref()),
        (Some("jira"), Some("set"))
    );
    assert_eq!(last.request_id, scene.last_request_id());
    drop(got);
    assert_eq!(scene.world.upstreams.open(), 0);
}

#[test]
fn only_whoever_declares_the_extension_may_listen_to_tasks() {
    let scene = scene();
    let sealed = begun(&scene, "jira_get", "T-1");
    let params = json!({"notifications":{"taskIds":[sealed]}});
    let got = scene.ask("alice", Era::Modern, LISTEN, params);
    assert_eq!((got.status, got.code()), (400, -32021));
    let required = &got.json()["error"]["data"]["requiredCapabilities"];
    assert_eq!(*required, json!({"extensions":{EXTENSION:{}}}));
    assert_eq!(scene.rows(), ["refusal refused missing_capability"]);
    assert_eq!(scene.sent(), [""; 0]);
}

#[test]
fn lists_that_do_not_fit_are_refused() {
    for (ids, status, reason) in [
        (json!("x"), 400, "bad_params"),
        (json!([7]), 400, "bad_params"),
        (json!(vec!["x"; SUBSCRIPTIONS_MAX + 1]), 429, "too_many"),
    ] {
        let scene = scene();
        let params = json!({"notifications":{"taskIds":ids}});
        let got = ask(&scene, "alice", LISTEN, params);
        assert_eq!(got.status, status);
        assert_eq!(scene.rows(), [format!("refusal refused {reason}")]);
        assert_eq!(scene.sent(), [""; 0]);
    }
}

#[test]
fn what_is_not_the_callers_is_left_out_and_recorded() {
    let mut scene = scene();
    let sealed = begun(&scene, "jira_get", "T-1");
    let denied = begun(&scene, "jira_set", "T-2");
    let mut stricter = document();
    stricter["servers"]["jira"]["tools"]["deny"] = json!(["set"]);
    scene.apply(&stricter);
    for (who, ids, expected, refused) in [
        ("bob", vec![&sealed], json!({}), 1),
        ("alice", vec![&denied], json!({}), 1),
        (
            "alice",
            vec![&denied, &sealed],
            json!({"taskIds":[sealed]}),
            1,
        ),
    ] {
        if expected != json!({}) {
            let ack = acknowledged(json!(["T-1"]));
            scene.jira.will_answer(tells(&[ack]));
        }
        let ids: Vec<&str> = ids.into_iter().map(String::as_str).chain(["x"]).collect();
        let mut got = listen(&scene, who, &ids);
        assert_eq!(honoured(&mut got), expected);
        let rows = scene.rows();
        let unknown = "refusal refused unknown_task";
        let count = rows.iter().filter(|row| *row == unknown).count();
        assert_eq!(count, refused + 1, "{rows:?}");
        assert_eq!(rows.last().map(String::as_str), Some("outcome ok -"));
        scene.world.clear();
    }
}

/// A client that was promised news would wait for them.
#[test]
fn only_what_its_server_will_tell_is_acknowledged() {
    let hangs = Canned::events(vec![Piece::Hang]);
    let table = [
        (tells(&[acknowledged(json!([]))]), false),
        (tells(&[acknowledged(json!(["T-2"]))]), false),
        (tells(&[acknowledged(json!(["T-2", "T-1"]))]), true),
        (
            tells(&[told(json!({"taskId":"T-1"})), acknowledged(json!(["T-1"]))]),
            true,
        ),
        (hangs, false),
        (Canned::hang(), false),
        (Canned::status(404), false),
        (
            Canned::json(
                json!({"jsonrpc":"2.0","id":"$ID","error":{"code":-32602,"message":"no"}}),
            ),
            false,
        ),
        (Canned::events(vec![]), false),
        (
            tells(&[acknowledged(json!(["T-1"]))]).after(SUBSCRIBE_MS_MAX - 1),
            true,
        ),
        (
            tells(&[acknowledged(json!(["T-1"]))]).after(SUBSCRIBE_MS_MAX + 1),
            false,
        ),
    ];
    for (canned, expected) in table {
        let scene = scene();
        let sealed = begun(&scene, "jira_get", "T-1");
        let what = format!("{canned:?}");
        scene.jira.will_answer(canned);
        let begun_ms = scene.world.timers.now_ms();
        let mut got = listen(&scene, "alice", &[&sealed]);
        let honoured = honoured(&mut got);
        assert_eq!(honoured.get("taskIds").is_some(), expected, "{what}");
        let took_ms = scene.world.timers.now_ms() - begun_ms;
        assert!(took_ms <= SUBSCRIBE_MS_MAX, "{what}: {took_ms}");
    }
}

#[test]
fn each_server_hears_of_its_own_tasks_beside_everything_else() {
    let scene = scene();
    scene.wiki.tasks.set(true);
    scene.world.catalogs.kept.borrow_mut().clear();
    scene.ask("alice", Era::Modern, "tools/list", json!({}));
    let jira = begun(&scene, "jira_get", "T-1");
    let made = json!({"jsonrpc":"2.0","id":"$ID","result":{"resultType":"task","taskId":"T-1","status":"working","ttlMs":null}});
    scene.wiki.will_answer(Canned::json(made));
    let params = json!({"name":"wiki_get","arguments":{}});
    let wiki = ask(&scene, "alice", "tools/call", params).result()["taskId"].clone();
    let wiki = wiki.as_str().unwrap().to_owned();
    scene.world.clear();
    let done =
        |text: &str| told(json!({"taskId":"T-1","status":"completed","result":{"content":text}}));
    for (server, text) in [(&scene.jira, "jira"), (&scene.wiki, "wiki")] {
        server.will_answer(tells(&[acknowledged(json!(["T-1"])), done(text)]));
    }
    let mut ids = [jira.clone(), wiki.clone()];
    ids.sort();
    let filter = json!({"toolsListChanged":true,"taskIds":ids});
    let mut got = ask(&scene, "alice", LISTEN, json!({"notifications":filter}));
    assert_eq!(honoured(&mut got), filter);
    for _ in 0..2 {
        let message = got.next().unwrap();
        let expected = if message["params"]["taskId"] == *jira {
            "jira"
        } else {
            "wiki"
        };
        assert_eq!(message["params"]["result"]["content"], expected);
    }
}

/// A stream of one server that tells about its task every so often.
fn ticking(every_ms: u64) -> Canned {
    let tick = told(json!({"taskId":"T-1","status":"working"}));
    let ticks = (0..500).flat_map(|_| [Piece::Wait(every_ms), bytes(std::slice::from_ref(&tick))]);
    let first = bytes(&[acknowledged(json!(["T-1"]))]);
    Canned::events(std::iter::once(first).chain(ticks).collect())
}

#[test]
fn a_tool_that_is_denied_meanwhile_is_heard_of_no_more() {
    let scene = scene();
    let sealed = begun(&scene, "jira_set", "T-1");
    scene.jira.will_answer(ticking(1_000));
    let mut got = listen(&scene, "alice", &[&sealed]);
    got.next();
    assert_eq!(got.next().unwrap()["params"]["taskId"], *sealed);
    let mut stricter = document();
    stricter["servers"]["jira"]["tools"]["deny"] = json!(["set"]);
    *scene.world.active.borrow_mut() = Some(active(8, &stricter));
    let begun_ms = scene.world.timers.now_ms();
    while let Some(Some(message)) = got.next_until(begun_ms + 60_000) {
        let after_ms = scene.world.timers.now_ms() - begun_ms;
        assert!(
            message["method"] != "notifications/tasks" || after_ms <= 5_000,
            "{after_ms} ms later"
        );
    }
    let rows = scene.rows();
    assert_eq!(
        rows,
        ["outcome ok -", "refusal refused unknown_task"],
        "once"
    );
    let refused = scene.world.ledger.rows().pop().unwrap();
    assert_eq!(
        refused.rule.as_deref(),
        Some("portals.main/servers.jira.tools.deny[0]")
    );
}

#[test]
fn a_stream_that_ends_before_its_tasks_ends_the_subscription() {
    for (status, ends) in [("working", true), ("cancelled", false)] {
        let scene = scene();
        let sealed = begun(&scene, "jira_set", "T-1");
        let messages = [
            acknowledged(json!(["T-1"])),
            told(json!({"taskId":"T-1","status":status})),
        ];
        scene
            .jira
            .will_answer(Canned::events(vec![bytes(&messages)]));
        let mut got = listen(&scene, "alice", &[&sealed]);
        got.next();
        assert_eq!(got.next().unwrap()["params"]["status"], status);
        let until = scene.world.timers.now_ms() + 60_000;
        let next = got.next_until(until);
        assert_eq!(next.is_some(), ends, "{status}");
        if let Some(last) = next.flatten() {
            assert_eq!(last["result"]["resultType"], "complete");
            assert_eq!(got.next(), None);
        }
    }
}

#[test]
fn listening_to_a_task_has_a_longest_life() {
    let scene = scene();
    let sealed = begun(&scene, "jira_set", "T-1");
    scene.jira.will_answer(ticking(10_000));
    let mut got = listen(&scene, "alice", &[&sealed]);
    let begun_ms = scene.world.timers.now_ms();
    while got.next().is_some() {}
    let life_ms = scene.world.timers.now_ms() - begun_ms;
    assert!(life_ms <= LISTEN_MS_MAX + 10_000, "{life_ms}");
    drop(got);
    assert_eq!(scene.world.upstreams.open(), 0);
}

#[test]
fn servers_of_the_older_era_are_not_listened_to_for_tasks() {
    let scene = scene();
    let sealed = begun(&scene, "jira_get", "T-1");
    scene.jira.speaks.set(Speaks::Legacy);
    scene.world.catalogs.kept.borrow_mut().clear();
    scene.ask("alice", Era::Modern, "tools/list", json!({}));
    scene.world.clear();
    let mut got = listen(&scene, "alice", &[&sealed]);
    assert_eq!(honoured(&mut got), json!({}));
    assert_eq!(scene.sent(), [""; 0]);
}
