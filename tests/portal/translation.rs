//! Properties of what crosses eras: questions keep what they ask in either form, and a state opens for one request alone.

use portcullis::mcp::{Era, Method};
use portcullis::portal::questions::{Question, askable};
use portcullis::portal::state::{Asked, HeldState, State, open, seal};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::mcp_server::Speaks;
use super::scene::Scene;

fn text() -> impl Strategy<Value = String> {
    let chars = select(vec!['a', 'é', '"', '\\', '\n', '\u{0}', '😀', '$', '{']);
    vec(chars, 0..6).prop_map(|chars| chars.into_iter().collect())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Parameters with members that mean something among others.
fn params() -> impl Strategy<Value = Map<String, Value>> {
    let names = prop_oneof![
        select(vec![
            "mode",
            "url",
            "message",
            "elicitationId",
            "task",
            "_meta",
            "tools"
        ])
        .prop_map(str::to_owned),
        text(),
    ];
    let values = prop_oneof![
        3 => value(),
        1 => Just(json!("url")),
        1 => Just(json!({"progressToken":1})),
        1 => Just(json!({"progressToken":"t","other":1})),
    ];
    btree_map(names, values, 0..6).prop_map(|members| members.into_iter().collect())
}

fn method() -> impl Strategy<Value = &'static str> {
    select(vec![
        "elicitation/create",
        "sampling/createMessage",
        "roots/list",
    ])
}

/// Without what a form does not have.
fn bare(mut params: Value) -> Value {
    let members = params.as_object_mut().unwrap();
    members.remove("elicitationId");
    members.remove("task");
    if let Some(Value::Object(meta)) = members.get_mut("_meta") {
        meta.remove("progressToken");
    }
    if members.get("_meta") == Some(&json!({})) {
        members.remove("_meta");
    }
    params
}

proptest! {
    /// From a session to a result and back into a session.
    #[test]
    fn a_question_is_the_same_in_both_forms(
        method in method(),
        params in params(),
        id in text(),
        unique in text(),
    ) {
        let params = Value::Object(params);
        let asked = Question::from_request(method, Some(&params.to_string())).unwrap();
        let input = asked.to_input();
        prop_assert_eq!(&input["method"], method);
        prop_assert_eq!(&input["params"], &bare(params));
        let back = Question::from_input(&input).unwrap();
        prop_assert_eq!(back.to_input(), input.clone(), "nothing else goes the second time");
        let id = Value::from(id);
        let request: Value =
            serde_json::from_slice(&back.to_request(&id.to_string(), &unique)).unwrap();
        prop_assert_eq!(&request["id"], &id);
        prop_assert_eq!(&request["method"], method);
        let is_link = method == "elicitation/create" && input["params"]["mode"] == "url";
        let named = request["params"].get("elicitationId");
        let expected = is_link.then(|| Value::from(unique));
        prop_assert_eq!(named, expected.as_ref());
        prop_assert_eq!(&bare(request["params"].clone()), &input["params"]);
    }

    /// What a server's own form of a question says reaches a session as it is.
    #[test]
    fn an_input_request_keeps_its_parameters(method in method(), params in params()) {
        let params = Value::Object(params);
        let asked = Question::from_input(&json!({"method":method,"params":params})).unwrap();
        let request: Value = serde_json::from_slice(&asked.to_request("1", "u")).unwrap();
        let mut expected = params.clone();
        if method == "elicitation/create" && params["mode"] == "url" {
            let members = expected.as_object_mut().unwrap();
            members.entry("elicitationId").or_insert("u".into());
        }
        prop_assert_eq!(&request["params"], &expected);
    }

    /// What is declared is read the same however often it is passed on, and declaring more is never being asked less.
    #[test]
    fn capabilities_are_read_once_and_for_all(
        declared in btree_map(
            select(vec!["elicitation", "sampling", "roots", "other"]).prop_map(str::to_owned),
            prop_oneof![
                Just(json!({})), Just(json!({"form":{}})), Just(json!({"url":{}})),
                Just(json!({"form":{},"url":{}})), Just(json!({"tools":{}})), value(),
            ],
            0..4,
        ),
        method in method(),
        params in params(),
    ) {
        let declared: Map<String, Value> = declared.into_iter().collect();
        let all = Value::Object(declared.clone()).to_string();
        let read = askable(&all);
        if let Some(read) = &read {
            let again = askable(read);
            prop_assert_eq!(again.as_ref(), Some(read));
        }
        let question = Question::from_input(&json!({"method":method,"params":params})).unwrap();
        for name in declared.keys() {
            let mut fewer = declared.clone();
            fewer.remove(name);
            let fewer = askable(&Value::Object(fewer).to_string());
            if question.missing(fewer.as_deref()).is_none() {
                prop_assert_eq!(question.missing(read.as_deref()), None);
            }
        }
    }

    /// A state opens for the person, server, method, target and arguments it was made for, and for nothing else.
    #[test]
    fn states_never_cross_requests(
        one in request(),
        other in request(),
        state in state(),
    ) {
        let scene = Scene::new(Speaks::Modern, Speaks::Modern);
        let caller = |request: &Made| scene.caller(request.who, Era::Modern, &Value::Null);
        let sealed = seal(&scene.world, &caller(&one), one.asked(), &state).unwrap();
        let opened = open(&scene.world, &caller(&one), one.asked(), &sealed);
        prop_assert_eq!(opened.ok(), Some(state.clone()));
        let opened = open(&scene.world, &caller(&other), other.asked(), &sealed);
        prop_assert_eq!(opened.ok(), (one == other).then_some(state));
    }
}

/// A request a state is made for.
#[derive(Debug, Clone)]
struct Made {
    who: &'static str,
    method: Method,
    server: &'static str,
    target: String,
    arguments: String,
}

impl Made {
    fn asked(&self) -> Asked<'_> {
        Asked {
            method: self.method,
            server: self.server,
            target: &self.target,
            arguments: &self.arguments,
        }
    }

    fn meant(&self) -> (&str, Method, &str, &str, Value) {
        let arguments = serde_json::from_str(&self.arguments).unwrap_or_default();
        (self.who, self.method, self.server, &self.target, arguments)
    }
}

/// However their arguments are spelled.
impl PartialEq for Made {
    fn eq(&self, other: &Self) -> bool {
        self.meant() == other.meant()
    }
}

/// Few enough that two of them often agree in all but one part, or altogether.
fn request() -> impl Strategy<Value = Made> {
    let arguments = select(vec![
        "",
        "{}",
        r#"{"a":1}"#,
        r#"{ "a": 1 }"#,
        r#"{"a":"1"}"#,
        r#"{"a":1,"b":2}"#,
        r#"{"b":2,"a":1}"#,
        "[1]",
    ]);
    (
        select(vec!["alice", "bob"]),
        select(vec![Method::ToolsCall, Method::PromptsGet]),
        select(vec!["jira", "wiki"]),
        select(vec!["get", "set", "get set", ""]),
        arguments,
    )
        .prop_map(|(who, method, server, target, arguments)| Made {
            who,
            method,
            server,
            target: target.to_owned(),
            arguments: arguments.to_owned(),
        })
}

fn state() -> impl Strategy<Value = State> {
    let held = (text(), text(), any::<u32>(), any::<u64>());
    prop_oneof![
        text().prop_map(State::Server),
        Just(State::Again),
        held.prop_map(|(object, call, round, issued_ms)| State::Held(HeldState {
            object,
            call,
            round,
            issued_ms,
        })),
    ]
}
