//! Sealed values on their round trip: request states and cursors, good for whom and what they were made.

use portcullis::limits::{PAGE_ITEMS_MAX, SEAL_LIFETIME_MS};
use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::Scene;
use super::upstreams::Canned;

fn scene() -> Scene {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern).synced();
    let clear = scene.world.timers.now_ms();
    assert!(clear > 0);
    scene
}

fn asks(state: &str) -> Canned {
    Canned::json(json!({"jsonrpc":"2.0","id":1,"result":{
        "resultType":"input_required",
        "inputRequests":{"q":{"method":"elicitation/create","params":{}}},
        "requestState":state,
    }}))
}

/// A call to `jira_set` that asked for input, and the state the client was given.
fn asked() -> (Scene, String) {
    let scene = scene();
    scene.jira.will_answer(asks("their \"state\" é"));
    let got = scene.call(Era::Modern, "jira_set");
    assert_eq!(got.result()["resultType"], "input_required");
    assert!(got.result()["inputRequests"]["q"].is_object());
    let sealed = got.result()["requestState"].as_str().unwrap().to_owned();
    assert!(
        !sealed.contains("state"),
        "the server's own state stays inside"
    );
    assert_eq!(
        scene.rows(),
        ["intent pending -", "outcome input_required -"]
    );
    scene.world.clear();
    (scene, sealed)
}

fn retry(state: &str) -> Value {
    json!({"arguments":{},"requestState":state,"inputResponses":{"q":{"action":"accept","content":{}}}})
}

fn retry_of(
    scene: &Scene,
    who: &str,
    method: &str,
    target: (&str, &str),
    state: &str,
) -> super::scene::Got {
    let mut params = retry(state);
    params[target.0] = target.1.into();
    scene.ask(who, Era::Modern, method, params)
}

#[test]
fn a_state_comes_back_to_its_server_as_it_left() {
    let (scene, sealed) = asked();
    let got = retry_of(&scene, "alice", "tools/call", ("name", "jira_set"), &sealed);
    assert_eq!(got.result()["content"][0]["text"], "done");
    let calls = scene.world.upstreams.of("tools/call");
    assert_eq!(
        calls[0].json()["params"]["requestState"],
        "their \"state\" é"
    );
    assert_eq!(
        calls[0].json()["params"]["inputResponses"]["q"]["action"],
        "accept"
    );
    assert_eq!(scene.rows(), ["intent pending -", "outcome ok -"]);
}

#[test]
fn a_state_is_good_for_nobody_and_nothing_else() {
    for (who, method, target) in [
        ("bob", "tools/call", ("name", "jira_set")),
        ("alice", "tools/call", ("name", "jira_get")),
        ("alice", "tools/call", ("name", "wiki_set")),
        ("alice", "prompts/get", ("name", "jira_greet")),
        ("alice", "resources/read", ("uri", "jira://a")),
    ] {
        let (scene, sealed) = asked();
        let got = retry_of(&scene, who, method, target, &sealed);
        let what = format!("{who} {method} {target:?}");
        assert_eq!(got.code(), -32602, "{what}");
        assert_eq!(scene.sent(), [""; 0], "{what}");
        assert_eq!(scene.rows(), ["refusal refused bad_seal"], "{what}");
    }
}

#[test]
fn a_state_is_good_for_its_lifetime() {
    for (age_ms, is_good) in [
        (SEAL_LIFETIME_MS - 1, true),
        (SEAL_LIFETIME_MS, false),
        (SEAL_LIFETIME_MS * 2, false),
    ] {
        let (scene, sealed) = asked();
        scene.world.timers.pass(age_ms);
        let got = retry_of(&scene, "alice", "tools/call", ("name", "jira_set"), &sealed);
        let calls = scene.world.upstreams.of("tools/call").len();
        assert_eq!(
            (got.json().get("result").is_some(), calls),
            (is_good, usize::from(is_good)),
            "{age_ms}"
        );
    }
}

#[test]
fn a_forged_state_is_refused() {
    let (scene, sealed) = asked();
    let mut flipped = sealed.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let forged = [
        String::from_utf8(flipped).unwrap(),
        sealed[..sealed.len() - 1].to_owned(),
        format!("{sealed}A"),
        String::new(),
        "their \"state\" é".to_owned(),
        "A".repeat(100_000),
    ];
    for state in forged {
        let got = retry_of(&scene, "alice", "tools/call", ("name", "jira_set"), &state);
        assert_eq!(got.code(), -32602);
        assert_eq!(scene.sent(), [""; 0]);
        assert_eq!(
            scene.rows(),
            ["refusal refused bad_seal"],
            "no intent either"
        );
        scene.world.clear();
    }
}

/// A server that asks again seals again: each state is its own.
#[test]
fn rounds_may_follow_one_another() {
    let (scene, first) = asked();
    scene.jira.will_answer(asks("second"));
    let got = retry_of(&scene, "alice", "tools/call", ("name", "jira_set"), &first);
    let second = got.result()["requestState"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let got = retry_of(&scene, "alice", "tools/call", ("name", "jira_set"), &second);
    assert_eq!(got.result()["content"][0]["text"], "done");
    let states: Vec<Value> = scene
        .world
        .upstreams
        .of("tools/call")
        .iter()
        .map(|sent| sent.json()["params"]["requestState"].clone())
        .collect();
    assert_eq!(states, ["their \"state\" é", "second"]);
}

/// Without a state of its own a server gets none.
#[test]
fn a_question_without_a_state_stays_without() {
    let scene = scene();
    let question = json!({"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"q":{}}}});
    scene.jira.will_answer(Canned::json(question.clone()));
    let got = scene.call(Era::Modern, "jira_get");
    assert_eq!(*got.json(), question);
    assert_eq!(scene.rows(), ["outcome input_required -"]);
}

/// Without a session there is nobody to ask and nowhere to wait: the call is over, and the client is told what it lacks.
#[test]
fn a_legacy_client_without_a_session_is_told_what_it_lacks() {
    for streamed in [false, true] {
        let scene = scene();
        let mut question = json!({"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"secret"}});
        question["result"]["inputRequests"] =
            json!({"q":{"method":"sampling/createMessage","params":{"messages":[]}}});
        let canned = if streamed {
            Canned::messages(&[question])
        } else {
            Canned::json(question)
        };
        scene.jira.will_answer(canned);
        let got = scene.call(Era::Legacy, "jira_set");
        assert_eq!((got.status, got.code()), (200, -32021));
        let error = &got.json()["error"];
        assert_eq!(
            error["data"]["requiredCapabilities"],
            json!({"sampling":{}})
        );
        assert!(!got.json().to_string().contains("secret"));
        assert_eq!(scene.world.upstreams.of("tools/call").len(), 1);
        assert_eq!(
            scene.rows(),
            ["intent pending -", "outcome refused missing_capability"]
        );
    }
}

/// More tools than one page holds; the cursor of the first page.
fn paged() -> (Scene, String) {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    let tool = |index: usize| json!({"name":format!("t{index}"),"inputSchema":{}});
    *scene.jira.tools.borrow_mut() = (0..PAGE_ITEMS_MAX * 2 + 5).map(tool).collect();
    let scene = scene.synced();
    let got = scene.ask("alice", Era::Modern, "tools/list", json!({}));
    let cursor = got.result()["nextCursor"].as_str().unwrap().to_owned();
    scene.world.clear();
    (scene, cursor)
}

#[test]
fn pages_follow_one_another_without_gap_or_repetition() {
    let (scene, _) = paged();
    let mut names = Vec::new();
    let mut cursor = None;
    for page in 0.. {
        assert!(page < 5, "pages end");
        let params = cursor.map_or(json!({}), |cursor: Value| json!({"cursor":cursor}));
        let got = scene.ask("alice", Era::Modern, "tools/list", params);
        let tools = got.result()["tools"].as_array().unwrap();
        assert!(tools.len() <= PAGE_ITEMS_MAX);
        names.extend(
            tools
                .iter()
                .map(|tool| tool["name"].as_str().unwrap().to_owned()),
        );
        cursor = got.result().get("nextCursor").cloned();
        if cursor.is_none() {
            break;
        }
    }
    let expected = (0..PAGE_ITEMS_MAX * 2 + 5).map(|index| format!("jira_t{index}"));
    let expected: Vec<String> = expected
        .chain(["wiki_get".into(), "wiki_set".into()])
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn a_cursor_is_good_for_its_listing_and_principal_alone() {
    let (scene, cursor) = paged();
    for (who, method, cursor) in [
        ("bob", "tools/list", cursor.clone()),
        ("alice", "prompts/list", cursor.clone()),
        ("alice", "tools/list", format!("{cursor}A")),
        ("alice", "tools/list", "1000".to_owned()),
        ("alice", "tools/list", String::new()),
    ] {
        let got = scene.ask(who, Era::Modern, method, json!({"cursor":cursor}));
        assert_eq!(got.code(), -32602, "{who} {method}");
        assert_eq!(scene.rows(), ["refusal refused bad_seal"]);
        scene.world.clear();
    }
    scene.world.timers.pass(SEAL_LIFETIME_MS);
    let got = scene.ask("alice", Era::Modern, "tools/list", json!({"cursor":cursor}));
    assert_eq!(got.code(), -32602);
    // Neither is a cursor a request state.
    let got = retry_of(&scene, "alice", "tools/call", ("name", "jira_t1"), &cursor);
    assert_eq!(got.code(), -32602);
}
