//! Merged listings, and that a listed name calls what was listed.

use portcullis::mcp::Era;
use serde_json::{Value, json};

use super::mcp_server::{Mcp, Speaks};
use super::scene::{Got, Scene, document};

fn list(scene: &Scene, method: &str) -> Got {
    scene.ask("alice", Era::Modern, method, json!({}))
}

fn items(got: &Got, member: &str) -> Vec<Value> {
    got.result()[member].as_array().expect(member).clone()
}

fn of(items: &[Value], key: &str) -> Vec<String> {
    items
        .iter()
        .map(|item| item[key].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn listings_are_merged_in_the_portals_order_under_exposed_names() {
    let mut document = document();
    document["portals"]["main"]["servers"] = json!(["wiki", "jira"]);
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Legacy);
    let tools = items(&list(&scene, "tools/list"), "tools");
    assert_eq!(
        of(&tools, "name"),
        ["wiki_get", "wiki_set", "jira_get", "jira_set"]
    );
    assert_eq!(
        tools[0],
        json!({"name":"wiki_get","description":"Reads","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}})
    );
    let prompts = items(&list(&scene, "prompts/list"), "prompts");
    assert_eq!(of(&prompts, "name"), ["wiki_greet", "jira_greet"]);
    let resources = items(&list(&scene, "resources/list"), "resources");
    assert_eq!(of(&resources, "uri"), ["wiki://a", "jira://a"]);
    let templates = items(
        &list(&scene, "resources/templates/list"),
        "resourceTemplates",
    );
    assert_eq!(
        of(&templates, "uriTemplate"),
        ["wiki://page/{id}", "jira://page/{id}"]
    );
}

/// Every listed tool can be called, and is the one that was listed.
#[track_caller]
fn every_listed_tool_is_the_called_one(scene: &Scene) {
    let tools = items(&list(scene, "tools/list"), "tools");
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        scene.world.clear();
        let got = scene.call(Era::Modern, name);
        assert!(
            got.json().get("result").is_some(),
            "{name} is listed: {}",
            got.json()
        );
        let calls = scene.world.upstreams.of("tools/call");
        let called = format!(
            "{} {}",
            calls[0].server,
            calls[0].json()["params"]["name"].as_str().unwrap()
        );
        // The fixtures describe each tool as `server tool`.
        assert_eq!(called, tool["description"].as_str().unwrap(), "{name}");
    }
}

fn described(server: &str, names: &[&str]) -> Vec<Value> {
    let tool = |name: &&str| json!({"name":name,"description":format!("{server} {name}"),"inputSchema":{}});
    names.iter().map(tool).collect()
}

/// Two servers behind prefixes of which one continues the other.
fn overlapping(order: [&str; 2], deny: &str) -> Scene {
    let mut document = document();
    document["portals"]["main"]["servers"] = json!(order);
    document["servers"]["jira"]["prefix"] = "git".into();
    document["servers"]["wiki"]["prefix"] = "git_lab".into();
    document["servers"]["wiki"]["tools"] = json!({"default":"allow","deny":[deny]});
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
    *scene.jira.tools.borrow_mut() = described("jira", &["lab_x", "lab_y", "z"]);
    *scene.wiki.tools.borrow_mut() = described("wiki", &["x", "w"]);
    scene
}

#[test]
fn overlapping_prefixes_list_what_they_call() {
    for order in [["jira", "wiki"], ["wiki", "jira"]] {
        every_listed_tool_is_the_called_one(&overlapping(order, "nothing"));
    }
}

/// Also where one of the two is forbidden.
#[test]
fn overlapping_prefixes_list_what_they_call_under_rules() {
    for order in [["jira", "wiki"], ["wiki", "jira"]] {
        every_listed_tool_is_the_called_one(&overlapping(order, "x"));
    }
}

/// A server that is away does not hand its names to another: the client means the tool it was shown.
#[test]
fn a_name_does_not_move_to_another_server_while_its_own_is_away() {
    let scene = overlapping(["wiki", "jira"], "nothing");
    let tools = items(&list(&scene, "tools/list"), "tools");
    let shown = tools
        .iter()
        .find(|tool| tool["name"] == "git_lab_x")
        .unwrap();
    assert_eq!(shown["description"], "wiki x");
    scene
        .world
        .catalogs
        .kept
        .borrow_mut()
        .retain(|key, _| key.server != "wiki");
    scene.wiki.down.set(Some(500));
    scene.world.clear();
    let got = scene.call(Era::Modern, "git_lab_x");
    assert_eq!(
        scene.world.upstreams.of("tools/call").len(),
        0,
        "{}",
        got.json()
    );
}

#[test]
fn aliases_rename_and_describe() {
    let mut document = document();
    document["servers"]["jira"]["alias"] =
        json!({"set":{"name":"write","description":"jira set"},"get":{"description":"jira get"}});
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
    *scene.jira.tools.borrow_mut() = described("jira", &["get", "set"]);
    *scene.wiki.tools.borrow_mut() = described("wiki", &["get"]);
    let tools = items(&list(&scene, "tools/list"), "tools");
    assert_eq!(of(&tools, "name"), ["jira_get", "jira_write", "wiki_get"]);
    every_listed_tool_is_the_called_one(&scene);
    assert_eq!(
        scene.call(Era::Modern, "jira_set").code(),
        -32602,
        "reached by its alias only"
    );
}

/// An alias that is another tool's own name: the document cannot know. What is listed must be what is called.
#[test]
fn an_alias_over_another_tools_name_lists_what_it_calls() {
    for names in [["get", "set"], ["set", "get"]] {
        let mut document = document();
        document["servers"]["jira"]["alias"] = json!({"set":{"name":"get"}});
        let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
        *scene.jira.tools.borrow_mut() = described("jira", &names);
        *scene.wiki.tools.borrow_mut() = Vec::new();
        every_listed_tool_is_the_called_one(&scene);
    }
}

/// Names are unique in a listing, the portal's own tools included.
#[test]
fn no_name_is_listed_twice() {
    let mut document = document();
    document["portals"]["main"]["servers"] = json!(["jira"]);
    document["portals"]["main"]["portal_tools"] = true.into();
    document["servers"]["jira"]["prefix"] = "".into();
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern);
    *scene.jira.tools.borrow_mut() = described("jira", &["get", "portal_list_servers"]);
    let mut names = of(&items(&list(&scene, "tools/list"), "tools"), "name");
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn collisions_are_said_and_the_first_server_has_the_resource() {
    let scene = Scene::new(Speaks::Modern, Speaks::Modern);
    let wiki = Mcp::new(Speaks::Modern).with_resources("jira");
    scene.world.upstreams.serve("wiki", wiki.answering());
    let got = list(&scene, "resources/list");
    assert_eq!(of(&items(&got, "resources"), "uri"), ["jira://a"]);
    let collisions = &got.result()["_meta"]["portcullis/collisions"];
    assert_eq!(collisions[0], json!({"server":"wiki","hidden":"jira://a"}));
    scene.world.clear();
    scene.ask(
        "alice",
        Era::Modern,
        "resources/read",
        json!({"uri":"jira://a"}),
    );
    assert_eq!(scene.sent(), ["jira resources/read"]);
}

#[test]
fn servers_switched_off_are_neither_listed_nor_callable() {
    let mut document = document();
    document["portals"]["main"]["portal_tools"] = true.into();
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern).synced();
    let toggle = |action: &str| {
        let arguments = json!({"server_id":"jira","action":action});
        scene.ask(
            "alice",
            Era::Modern,
            "tools/call",
            json!({"name":"portal_toggle_single_server","arguments":arguments}),
        )
    };
    assert_eq!(toggle("untoggle").result()["isError"], Value::Null);
    assert_eq!(scene.rows(), ["outcome ok -"]);
    let names = of(&items(&list(&scene, "tools/list"), "tools"), "name");
    assert!(
        names.iter().all(|name| !name.starts_with("jira")),
        "{names:?}"
    );
    for (method, params) in [
        ("tools/call", json!({"name":"jira_get"})),
        ("prompts/get", json!({"name":"jira_greet"})),
        ("resources/read", json!({"uri":"jira://a"})),
        (
            "completion/complete",
            json!({"ref":{"type":"ref/resource","uri":"jira://page/{id}"},"argument":{}}),
        ),
    ] {
        assert_eq!(
            scene.ask("alice", Era::Modern, method, params).code(),
            -32602,
            "{method}"
        );
    }
    assert_eq!(scene.sent(), [""; 0]);
    assert_eq!(
        scene
            .ask("bob", Era::Modern, "tools/call", json!({"name":"jira_get"}))
            .status,
        200,
        "for oneself only"
    );
    toggle("toggle");
    assert!(
        scene
            .call(Era::Modern, "jira_get")
            .json()
            .get("result")
            .is_some()
    );
}

#[test]
fn a_toggle_that_is_not_stored_is_an_error() {
    let mut document = document();
    document["portals"]["main"]["portal_tools"] = true.into();
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern).synced();
    scene.world.toggles_broken.set(true);
    let params = json!({"name":"portal_toggle_servers","arguments":{"disable":["jira"]}});
    let got = scene.ask("alice", Era::Modern, "tools/call", params);
    assert_eq!((got.status, got.code()), (500, -32603));
    assert_eq!(scene.rows(), ["refusal refused session_state"]);
}

/// A form that is declined is over; asking the same again would never end.
#[test]
fn declining_the_form_ends_it() {
    let mut document = document();
    document["portals"]["main"]["portal_tools"] = true.into();
    let scene = Scene::of(&document, Speaks::Modern, Speaks::Modern).synced();
    let meta = json!({"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}});
    let mut params = json!({"name":"portal_toggle_servers","arguments":{},"_meta":meta});
    let got = scene.ask("alice", Era::Modern, "tools/call", params.clone());
    assert_eq!(got.result()["resultType"], "input_required");
    params["requestState"] = got.result()["requestState"].clone();
    for action in ["decline", "cancel"] {
        params["inputResponses"] = json!({"servers":{"action":action}});
        let got = scene.ask("alice", Era::Modern, "tools/call", params.clone());
        assert_eq!(
            got.result()["resultType"],
            "complete",
            "{action}: {}",
            got.json()
        );
    }
    // Accepting switches, and another principal's form is not good here.
    params["inputResponses"] =
        json!({"servers":{"action":"accept","content":{"jira":false,"wiki":true}}});
    assert_eq!(
        scene
            .ask("bob", Era::Modern, "tools/call", params.clone())
            .code(),
        -32602
    );
    let got = scene.ask("alice", Era::Modern, "tools/call", params);
    assert_eq!(got.result()["resultType"], "complete");
    assert_eq!(scene.call(Era::Modern, "jira_get").code(), -32602);
}
