//! What a server may ask the person behind a client, in the words of either era: elicitation, sampling and roots, as
//! requests in a session (MCP 2025-11-25) and as `inputRequests` of a result (2026-07-28, basic/patterns/mrtr).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The members of a client's capabilities by which it can be asked something.
const ASKABLE: [&str; 3] = ["elicitation", "roots", "sampling"];

/// A question of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// `elicitation/create`, `sampling/createMessage` or `roots/list`.
    pub method: String,
    /// Its parameters; an object.
    #[serde(default)]
    pub params: Value,
}

/// What a client declared of what it can be asked, as JSON text in either era's spelling; nothing where that is nothing.
/// `capabilities` is JSON text.
#[must_use]
pub fn askable(capabilities: &str) -> Option<String> {
    // Most clients that declare nothing say `{}`.
    if !ASKABLE.iter().any(|name| capabilities.contains(name)) {
        return None;
    }
    let declared: Map<String, Value> = serde_json::from_str(capabilities).ok()?;
    let mut kept = Map::new();
    for name in ASKABLE {
        let Some(Value::Object(settings)) = declared.get(name) else {
            continue;
        };
        let settings = match name {
            // That roots changed is a notification that only one era has.
            "roots" => json!({}),
            _ => Value::Object(settings.clone()),
        };
        kept.insert(name.to_owned(), settings);
    }
    (!kept.is_empty()).then(|| Value::Object(kept).to_string())
}

impl Question {
    /// Reads a legacy server's request. Nothing where no client can be asked that, or the parameters are no object.
    #[must_use]
    pub fn from_request(method: &str, params: Option<&str>) -> Option<Self> {
        let params = match params {
            None => json!({}),
            Some(text) => serde_json::from_str(text).ok()?,
        };
        Self {
            method: method.to_owned(),
            params,
        }
        .checked()
    }

    /// Reads one of a modern server's `inputRequests`.
    #[must_use]
    pub fn from_input(value: &Value) -> Option<Self> {
        let mut question: Self = serde_json::from_value(value.clone()).ok()?;
        if question.params.is_null() {
            question.params = json!({});
        }
        question.checked()
    }

    fn checked(self) -> Option<Self> {
        let is_known = matches!(
            self.method.as_str(),
            "elicitation/create" | "sampling/createMessage" | "roots/list"
        );
        (is_known && self.params.is_object()).then_some(self)
    }

    fn wants_url(&self) -> bool {
        self.method == "elicitation/create" && self.params.get("mode") == Some(&json!("url"))
    }

    /// The capability this question needs and a client lacks, as a path such as `elicitation.url`. `capabilities` is
    /// JSON text as [`askable`] gives it.
    #[must_use]
    pub fn missing(&self, capabilities: Option<&str>) -> Option<&'static str> {
        let declared: Value = capabilities
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let (pointer, name) = match self.method.as_str() {
            "sampling/createMessage" if self.params.get("tools").is_some() => {
                ("/sampling/tools", "sampling.tools")
            }
            "sampling/createMessage" => ("/sampling", "sampling"),
            "roots/list" => ("/roots", "roots"),
            _ if self.wants_url() => ("/elicitation/url", "elicitation.url"),
            // An empty object means forms (2025-11-25, client/elicitation).
            _ if declared.get("elicitation") == Some(&json!({})) => return None,
            _ => ("/elicitation/form", "elicitation"),
        };
        declared.pointer(pointer).is_none().then_some(name)
    }

    /// What is wrong with an answer, as far as every server can expect it to be right: its shape (2026-07-28, schema,
    /// `ElicitResult`, `CreateMessageResult`, `ListRootsResult`). Nothing where it fits.
    #[must_use]
    pub fn misfit(&self, answer: &Value) -> Option<&'static str> {
        let text = |key: &str| answer.get(key).and_then(Value::as_str);
        match self.method.as_str() {
            _ if !answer.is_object() => Some("an answer is an object"),
            "sampling/createMessage" => {
                let has_content = answer
                    .get("content")
                    .is_some_and(|content| content.is_object() || content.is_array());
                let is_whole = text("model").is_some() && text("role").is_some() && has_content;
                (!is_whole).then_some("a sample has a model, a role and content")
            }
            "roots/list" => {
                let is_list = answer.get("roots").is_some_and(Value::is_array);
                (!is_list).then_some("roots is a list")
            }
            _ => {
                let acts = matches!(text("action"), Some("accept" | "decline" | "cancel"));
                let content = answer.get("content");
                if !acts {
                    Some("action is accept, decline or cancel")
                } else if content.is_some_and(|content| !content.is_object()) {
                    Some("content is an object")
                } else {
                    None
                }
            }
        }
    }

    /// As one of `inputRequests`. What belongs to the request that carried it, and what only sessions know, stays behind
    /// (2026-07-28, changelog, minor change 11).
    #[must_use]
    pub fn to_input(&self) -> Value {
        let mut params = self.params.clone();
        if let Some(params) = params.as_object_mut() {
            params.remove("elicitationId");
            params.remove("task");
            if let Some(Value::Object(meta)) = params.get_mut("_meta") {
                meta.remove("progressToken");
            }
            if params.get("_meta") == Some(&json!({})) {
                params.remove("_meta");
            }
        }
        json!({ "method": self.method, "params": params })
    }

    /// As a request in a session under an id, which is JSON text. A link needs an id of its own there: `unique`.
    #[must_use]
    pub fn to_request(&self, id: &str, unique: &str) -> Vec<u8> {
        let mut params = self.params.clone();
        if let (true, Some(params)) = (self.wants_url(), params.as_object_mut()) {
            params
                .entry("elicitationId")
                .or_insert_with(|| Value::String(unique.to_owned()));
        }
        let method = Value::String(self.method.clone());
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{method},\"params\":{params}}}")
            .into_bytes()
    }
}

/// The links that a legacy server wants followed before it begins a call: the questions of its error -32042
/// (2025-11-25, client/elicitation, "URL Elicitation Required Error"). `error` is the error object as JSON text.
#[must_use]
pub fn links_first(error: &str) -> Option<Vec<Question>> {
    const URL_ELICITATION_REQUIRED: i64 = -32042;
    let error: Value = serde_json::from_str(error).ok()?;
    if error.get("code")?.as_i64()? != URL_ELICITATION_REQUIRED {
        return None;
    }
    let links = error.pointer("/data/elicitations")?.as_array()?;
    let questions: Vec<Question> = links
        .iter()
        .filter_map(|link| {
            Question {
                method: "elicitation/create".to_owned(),
                params: link.clone(),
            }
            .checked()
            .filter(Question::wants_url)
        })
        .collect();
    (!questions.is_empty() && questions.len() == links.len()).then_some(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_cross_as_far_as_a_client_can_be_asked() {
        assert_eq!(askable("{}"), None);
        assert_eq!(askable(r#"{"extensions":{"a/b":{}}}"#), None);
        assert_eq!(askable(r#"{"elicitation":true}"#), None);
        assert_eq!(
            askable(
                r#"{"sampling":{"tools":{}},"elicitation":{},"roots":{"listChanged":true},"x":1}"#
            )
            .as_deref(),
            Some(r#"{"elicitation":{},"roots":{},"sampling":{"tools":{}}}"#)
        );
        assert_eq!(
            askable(r#"{"elicitation":{"url":{}}}"#).as_deref(),
            Some(r#"{"elicitation":{"url":{}}}"#)
        );
    }

    #[test]
    fn a_question_names_the_capability_it_needs() {
        let ask =
            |method: &str, params: &str| Question::from_request(method, Some(params)).unwrap();
        let form = ask("elicitation/create", r#"{"message":"?"}"#);
        let link = ask("elicitation/create", r#"{"mode":"url","url":"https://a"}"#);
        let tools = ask("sampling/createMessage", r#"{"tools":[]}"#);
        let declared = askable(r#"{"elicitation":{},"sampling":{}}"#);
        let declared = declared.as_deref();
        assert_eq!(form.missing(declared), None);
        assert_eq!(link.missing(declared), Some("elicitation.url"));
        assert_eq!(tools.missing(declared), Some("sampling.tools"));
        assert_eq!(ask("roots/list", "{}").missing(declared), Some("roots"));
        assert_eq!(form.missing(None), Some("elicitation"));
    }

    #[test]
    fn questions_change_their_form_and_nothing_else() {
        let text =
            r#"{"mode":"url","url":"https://a","elicitationId":"e","_meta":{"progressToken":1}}"#;
        let link = Question::from_request("elicitation/create", Some(text)).unwrap();
        assert_eq!(
            link.to_input(),
            json!({"method":"elicitation/create","params":{"mode":"url","url":"https://a"}})
        );
        let back = Question::from_input(&link.to_input()).unwrap();
        let request: Value = serde_json::from_slice(&back.to_request("7", "fresh")).unwrap();
        assert_eq!(request["params"]["elicitationId"], "fresh");
        assert_eq!(request["id"], 7);
        let roots = Question::from_input(&json!({"method":"roots/list"})).unwrap();
        let request: Value = serde_json::from_slice(&roots.to_request("\"x\"", "")).unwrap();
        assert_eq!(
            request,
            json!({"jsonrpc":"2.0","id":"x","method":"roots/list","params":{}})
        );
    }

    #[test]
    fn only_what_a_client_can_be_asked_is_a_question() {
        assert_eq!(Question::from_request("tools/call", Some("{}")), None);
        assert_eq!(Question::from_request("roots/list", Some("[]")), None);
        assert_eq!(Question::from_input(&json!("roots/list")), None);
    }

    #[test]
    fn answers_have_the_shape_of_what_was_asked() {
        let fits = |method: &str, answer: Value| {
            let question = Question::from_request(method, None).unwrap();
            question.misfit(&answer).is_none()
        };
        assert!(fits(
            "elicitation/create",
            json!({"action":"accept","content":{"a":1}})
        ));
        assert!(fits("elicitation/create", json!({"action":"decline"})));
        assert!(fits("roots/list", json!({"roots":[]})));
        let sample = json!({"role":"assistant","model":"m","content":{"type":"text","text":"t"}});
        assert!(fits("sampling/createMessage", sample));
        for (method, answer) in [
            ("elicitation/create", json!({})),
            ("elicitation/create", json!({"action":"maybe"})),
            (
                "elicitation/create",
                json!({"action":"accept","content":"a"}),
            ),
            ("elicitation/create", json!("accept")),
            ("roots/list", json!({"roots":{}})),
            (
                "sampling/createMessage",
                json!({"role":"assistant","model":"m"}),
            ),
        ] {
            assert!(!fits(method, answer.clone()), "{method} {answer}");
        }
    }

    #[test]
    fn links_to_follow_first_are_questions() {
        let error = json!({"code":-32042,"message":"m","data":{"elicitations":[
            {"mode":"url","url":"https://a","message":"m","elicitationId":"e"}]}});
        assert_eq!(links_first(&error.to_string()).unwrap().len(), 1);
        for other in [
            json!({"code":-32042,"data":{"elicitations":[]}}),
            json!({"code":-32042,"data":{"elicitations":[{"mode":"form"}]}}),
            json!({"code":-32000,"data":{"elicitations":[{"mode":"url"}]}}),
        ] {
            assert_eq!(links_first(&other.to_string()), None);
        }
    }
}
