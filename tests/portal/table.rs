//! Every method in both eras, client to server: what reaches an upstream under which permit, and which rows are left.

use portcullis::portal::ports::Parked;
use std::collections::BTreeSet;

use portcullis::mcp::{Era, Method};
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::Scene;

const READ: &str = "portals.main/servers.jira";
const TOOL: &str = "portals.main/servers.jira.tools.default";
const DENY: &str = "portals.main/servers.jira.tools.deny[0]";

pub struct Line {
    pub method: &'static str,
    pub params: Value,
    /// HTTP status.
    pub status: u16,
    /// `server method rule is_write`, as sent.
    pub sent: Vec<String>,
    /// `kind status reason`, as recorded, and the rule on every row.
    pub rows: Vec<&'static str>,
    pub rule: Option<&'static str>,
}

fn line(method: &'static str, params: Value) -> Line {
    Line {
        method,
        params,
        status: 200,
        sent: Vec::new(),
        rows: Vec::new(),
        rule: None,
    }
}

impl Line {
    fn sent(mut self, server: &str, rule: &str, is_write: bool) -> Self {
        let write = if is_write { "write" } else { "read" };
        self.sent
            .push(format!("{server} {} {rule} {write}", self.method));
        self
    }

    fn rows(self, rows: &[&'static str]) -> Self {
        let rows = rows.to_vec();
        Self { rows, ..self }
    }

    fn rule(self, rule: &'static str) -> Self {
        let rule = Some(rule);
        Self { rule, ..self }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// One governed read that succeeds.
    fn read(self, rule: &'static str) -> Self {
        self.sent("jira", rule, false)
            .rows(&["outcome ok -"])
            .rule(rule)
    }

    fn refused(self, row: &'static str) -> Self {
        self.rows(&[row])
    }

    /// A method its era does not have.
    fn absent(self, era: Era) -> Self {
        let status = if era == Era::Modern { 404 } else { 200 };
        self.status(status)
            .refused("refusal refused unknown_method")
    }
}

/// Those of a client that does not have the extension; the others have a file of their own.
fn task_requests(era: Era) -> Vec<Line> {
    let line = |method| line(method, json!({"taskId":"t"}));
    let needs_extension = |line: Line| {
        if era == Era::Modern {
            line.status(400)
                .refused("refusal refused missing_capability")
        } else {
            line.absent(era)
        }
    };
    vec![
        needs_extension(line("tasks/get")),
        needs_extension(line("tasks/update")),
        needs_extension(line("tasks/cancel")),
        line("tasks/result").absent(era),
        line("tasks/list").absent(era),
    ]
}

pub fn requests(era: Era) -> Vec<Line> {
    let modern = era == Era::Modern;
    let call = |name: &str| line("tools/call", json!({"name":name,"arguments":{}}));
    let prompt = |name: &str| json!({"ref":{"type":"ref/prompt","name":name},"argument":{"name":"a","value":"b"}});
    let template = |uri: &str| json!({"ref":{"type":"ref/resource","uri":uri},"argument":{"name":"id","value":"b"}});
    let listed = |method| line(method, json!({})).rows(&["outcome ok -"]);
    let only_legacy = |line: Line| if modern { line.absent(era) } else { line };
    let subscription = |method| {
        let line = line(method, json!({"uri":"jira://a"}));
        if modern {
            line.absent(era)
        } else {
            line.read(READ)
        }
    };
    let mut lines = vec![
        call("jira_get").read(TOOL),
        call("jira_set")
            .sent("jira", TOOL, true)
            .rows(&["intent pending -", "outcome ok -"])
            .rule(TOOL),
        call("jira_secret_get")
            .refused("refusal refused unknown_tool")
            .rule(DENY),
        call("jira_nothing").refused("refusal refused unknown_tool"),
        call("other_get").refused("refusal refused unknown_tool"),
        call("get").refused("refusal refused unknown_tool"),
        call("jira_").refused("refusal refused unknown_tool"),
        line("tools/call", json!({})).refused("refusal refused bad_params"),
        line("prompts/get", json!({"name":"jira_greet"})).read(READ),
        line("prompts/get", json!({"name":"jira_get"})).refused("refusal refused unknown_prompt"),
        line("prompts/get", json!({})).refused("refusal refused bad_params"),
        line("resources/read", json!({"uri":"jira://a"})).read(READ),
        line("resources/read", json!({"uri":"jira://page/7"})).read(READ),
        line("resources/read", json!({"uri":"jira://b"}))
            .refused("refusal refused unknown_resource"),
        line("resources/read", json!({})).refused("refusal refused bad_params"),
        line("completion/complete", prompt("jira_greet")).read(READ),
        line("completion/complete", template("jira://page/{id}")).read(READ),
        line("completion/complete", prompt("greet")).refused("refusal refused unknown_prompt"),
        line("completion/complete", template("jira://page/7"))
            .refused("refusal refused unknown_resource"),
        line("completion/complete", json!({})).refused("refusal refused bad_params"),
        subscription("resources/subscribe"),
        subscription("resources/unsubscribe"),
        listed("tools/list"),
        listed("prompts/list"),
        listed("resources/list"),
        listed("resources/templates/list"),
        only_legacy(line(
            "initialize",
            json!({"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}),
        )),
        only_legacy(line("ping", json!({}))),
        if modern {
            line("logging/setLevel", json!({"level":"debug"})).absent(era)
        } else {
            line("logging/setLevel", json!({"level":"debug"})).sent("jira", READ, false)
        },
        only_legacy(line("logging/setLevel", json!({})).refused("refusal refused bad_params")),
        if modern {
            line("server/discover", json!({}))
        } else {
            line("server/discover", json!({})).absent(era)
        },
        if modern {
            line(
                "subscriptions/listen",
                json!({"notifications":{"toolsListChanged":true}}),
            )
            .rows(&["outcome ok -"])
        } else {
            line("subscriptions/listen", json!({"notifications":{}})).absent(era)
        },
        line("notifications/initialized", json!({})).absent(era),
        line("notifications/cancelled", json!({"requestId":1})).absent(era),
        line(
            "notifications/progress",
            json!({"progressToken":"jira:1","progress":1}),
        )
        .absent(era),
        line("notifications/roots/list_changed", json!({})).absent(era),
        line("tools/call ", json!({"name":"jira_get"})).absent(era),
        line("sampling/createMessage", json!({})).absent(era),
    ];
    lines.extend(task_requests(era));
    // Parameters that do not fit are an HTTP error in the modern era only.
    for line in &mut lines {
        if modern && line.rows == ["refusal refused bad_params"] {
            line.status = 400;
        }
    }
    lines
}

/// A scene in which the client, in the legacy era, has a session in which `jira` is open.
pub fn scene(era: Era) -> Scene {
    let speaks = if era == Era::Modern {
        Speaks::Modern
    } else {
        Speaks::Legacy
    };
    let scene = Scene::new(speaks, speaks).synced();
    if era == Era::Legacy {
        scene.world.with_session();
        assert_eq!(scene.call(era, "jira_get").status, 200);
        scene.world.clear();
    }
    scene
}

pub fn permits(scene: &Scene) -> Vec<String> {
    let line = |sent: &super::upstreams::Sent| {
        let write = if sent.is_write { "write" } else { "read" };
        format!("{} {} {} {write}", sent.server, sent.method(), sent.rule)
    };
    scene
        .world
        .upstreams
        .sent
        .borrow()
        .iter()
        .map(line)
        .collect()
}

#[test]
fn every_request_reaches_what_it_may_and_leaves_its_rows() {
    for era in [Era::Legacy, Era::Modern] {
        for expected in requests(era) {
            let scene = scene(era);
            let got = scene.ask("alice", era, expected.method, expected.params.clone());
            let what = format!("{era:?} {} {}", expected.method, expected.params);
            assert_eq!(permits(&scene), expected.sent, "{what}");
            assert_eq!(scene.rows(), expected.rows, "{what}");
            assert_eq!(got.status, expected.status, "{what}");
            for row in scene.world.ledger.rows() {
                assert_eq!(row.rule.as_deref(), expected.rule, "{what}");
                assert_eq!(row.method, expected.method, "{what}");
                assert_eq!(
                    (&*row.portal, &*row.principal),
                    ("main", "idp|alice"),
                    "{what}"
                );
                assert_eq!((&*row.era, row.revision), (era.as_str(), 7), "{what}");
                assert_eq!(row.request_id, scene.last_request_id(), "{what}");
            }
            assert!(
                expected.rows.iter().all(|row| !row.starts_with("refusal"))
                    || scene.sent().is_empty()
            );
        }
    }
}

#[test]
fn the_table_is_whole() {
    for era in [Era::Legacy, Era::Modern] {
        let asked: BTreeSet<&str> = requests(era).iter().map(|line| line.method).collect();
        for method in Method::ALL {
            assert!(asked.contains(method.as_str()), "{era:?} {method:?}");
        }
    }
}

/// A governed request leaves exactly one outcome or refusal.
#[test]
fn governed_requests_end_in_exactly_one_row() {
    for era in [Era::Legacy, Era::Modern] {
        for line in requests(era) {
            let ends = |row: &&&str| !row.starts_with("intent");
            let governed = Method::parse(line.method).is_some_and(Method::is_governed);
            if governed {
                assert_eq!(line.rows.iter().filter(ends).count(), 1, "{}", line.method);
            }
        }
    }
}

#[test]
fn unknown_and_forbidden_tools_are_answered_alike() {
    for era in [Era::Legacy, Era::Modern] {
        let forbidden = scene(era).call(era, "jira_secret_get");
        let unknown = scene(era).call(era, "jira_secret_gex");
        let text = forbidden.json().to_string();
        assert_eq!(
            text.replace("secret_get", "secret_gex"),
            unknown.json().to_string()
        );
        assert_eq!(forbidden.status, unknown.status);
    }
}

/// (notification, what `jira` receives of it in a legacy session with a call of the id 7 in flight)
fn notifications() -> Vec<(&'static str, Value, Option<Value>)> {
    vec![
        ("notifications/initialized", json!({}), None),
        (
            "notifications/cancelled",
            json!({"requestId":7}),
            Some(json!({"requestId":7})),
        ),
        ("notifications/cancelled", json!({"requestId":8}), None),
        ("notifications/cancelled", json!({"requestId":"7"}), None),
        ("notifications/cancelled", json!({}), None),
        (
            "notifications/progress",
            json!({"progressToken":"jira:\"t\"","progress":1}),
            Some(json!({"progressToken":"t","progress":1})),
        ),
        (
            "notifications/progress",
            json!({"progressToken":"wiki:1","progress":1}),
            None,
        ),
        (
            "notifications/progress",
            json!({"progressToken":5,"progress":1}),
            None,
        ),
        ("notifications/progress", json!({"progress":1}), None),
        (
            "notifications/roots/list_changed",
            json!({}),
            Some(json!({})),
        ),
        (
            "notifications/message",
            json!({"level":"info","data":"x"}),
            None,
        ),
        ("notifications/tools/list_changed", json!({}), None),
        ("tools/call", json!({"name":"jira_set"}), None),
    ]
}

#[test]
fn notifications_reach_only_the_server_they_are_for() {
    for era in [Era::Legacy, Era::Modern] {
        for (method, params, expected) in notifications() {
            let scene = scene(era);
            if let Some(session) = &mut *scene.world.session.borrow_mut() {
                session.in_flight.insert("7".into(), "jira".into());
            }
            let body = json!({"jsonrpc":"2.0","method":method,"params":params});
            let got = scene.send("alice", era, &body);
            let what = format!("{era:?} {method} {params}");
            assert!(got.status == 202 && got.is_empty(), "{what}");
            assert_eq!(scene.rows(), [""; 0], "{what}");
            let sent = scene.world.upstreams.sent.borrow();
            match expected.filter(|_| era == Era::Legacy) {
                None => assert!(sent.is_empty(), "{what}: {sent:?}"),
                Some(params) => {
                    assert_eq!(sent.len(), 1, "{what}");
                    assert_eq!((&*sent[0].server, &*sent[0].rule), ("jira", READ), "{what}");
                    assert_eq!(
                        sent[0].json(),
                        json!({"jsonrpc":"2.0","method":method,"params":params}),
                        "{what}"
                    );
                    assert_eq!(sent[0].header("Mcp-Session-Id"), Some("s2"), "{what}");
                }
            }
        }
    }
}

#[test]
fn answers_reach_the_server_that_asked_once() {
    let scene = scene(Era::Legacy);
    let parked = (
        "\"jira:1\"".to_owned(),
        "jira".to_owned(),
        Parked::Server {
            id: "\"theirs\"".to_owned(),
            call: None,
        },
    );
    scene
        .world
        .session
        .borrow_mut()
        .as_mut()
        .unwrap()
        .parked
        .push(parked);
    let answer = json!({"jsonrpc":"2.0","id":"jira:1","result":{"roots":[]}});
    let got = scene.send("alice", Era::Legacy, &answer);
    assert!(got.status == 202 && got.is_empty());
    assert_eq!(permits(&scene), [format!("jira response {READ} read")]);
    let sent = scene.world.upstreams.of("response");
    assert_eq!(
        sent[0].json(),
        json!({"jsonrpc":"2.0","id":"theirs","result":{"roots":[]}})
    );
    assert_eq!(scene.rows(), [""; 0]);
    // The second time nobody waits.
    let got = scene.send("alice", Era::Legacy, &answer);
    assert_eq!((got.status, got.code()), (400, -32600));
    assert_eq!(scene.sent().len(), 1);
    assert_eq!(scene.rows(), ["refusal refused nobody_waits"]);
}

#[test]
fn a_modern_client_answers_no_requests() {
    let scene = scene(Era::Modern);
    let got = scene.send(
        "alice",
        Era::Modern,
        &json!({"jsonrpc":"2.0","id":"jira:1","result":{}}),
    );
    assert_eq!((got.status, got.code()), (400, -32600));
    assert!(scene.sent().is_empty());
    assert_eq!(scene.rows(), ["refusal refused not_rpc"]);
}
