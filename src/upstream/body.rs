//! The message a server receives for a client's message: changed in place within an era, rebuilt across eras.

use std::ops::Range;

use crate::mcp::json::{escape_into, splice};
use crate::mcp::message::{Meta, Params, Request};
use crate::mcp::{Era, Revision};
use crate::portal::ports::ClientFacts;

/// The extension whose handles the portal does not pass on: it is taken out of what clients declare to servers.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// What changes in a request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<'a> {
    /// The client's era.
    pub from: Era,
    /// The server's era.
    pub to: Era,
    /// The server's own name of the tool or prompt, where the request names one.
    pub name: Option<&'a str>,
    /// The server's own request state, opened.
    pub request_state: Option<&'a str>,
    /// Answers to what the server asked, as JSON text, where the client gave them in its session.
    pub input_responses: Option<&'a str>,
    /// Who speaks to a modern server, where the client does not say so itself.
    pub client: Option<Speaker<'a>>,
    /// The id and progress token under which the server knows the request, as JSON text, where several clients share a
    /// session with it and theirs could be the same.
    pub own_id: Option<&'a str>,
}

/// A client of another era, as a modern server is told about it.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// What it declared of what it can be asked, and what it calls itself.
    pub client: &'a ClientFacts,
    /// How much it wants logged.
    pub log_level: Option<&'a str>,
}

/// Writes the message for the server. The id stays the client's own where nobody else's could be the same.
#[must_use]
pub fn rewrite(request: &Request<'_>, change: Rewrite<'_>) -> Vec<u8> {
    if change.from == change.to {
        return in_place(request, change);
    }
    let mut out = Vec::with_capacity(request.body.len().saturating_add(256));
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(change.own_id.unwrap_or(request.id.text).as_bytes());
    out.extend_from_slice(b",\"method\":");
    escape_into(&mut out, &request.method);
    out.extend_from_slice(b",\"params\":");
    params_across(&mut out, &request.params, change);
    out.push(b'}');
    out
}

/// Within an era only names, request states and undeliverable declarations change; every other byte is the client's.
fn in_place(request: &Request<'_>, change: Rewrite<'_>) -> Vec<u8> {
    let mut edits: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let mut replace = |range: Range<usize>, text: &str| {
        let mut bytes = Vec::with_capacity(text.len().saturating_add(2));
        escape_into(&mut bytes, text);
        edits.push((range, bytes));
    };
    let params = &request.params;
    let spelled = params.name.as_ref().or(params
        .reference
        .as_ref()
        .and_then(|reference| reference.name.as_ref()));
    if let (Some(name), Some(spelled)) = (change.name, spelled)
        && name != spelled.value
    {
        replace(spelled.raw.start..spelled.raw.end, name);
    }
    if let (Some(state), Some(spelled)) = (change.request_state, &params.request_state) {
        replace(spelled.raw.start..spelled.raw.end, state);
    }
    if let Some(capabilities) = params
        .meta
        .client_capabilities
        .filter(|raw| raw.text.contains(TASKS))
    {
        edits.push((
            capabilities.start..capabilities.end,
            without_tasks(capabilities.text).into_bytes(),
        ));
    }
    if let Some(id) = change.own_id {
        edits.push((request.id.start..request.id.end, id.as_bytes().to_vec()));
        if let Some(token) = params.meta.progress_token {
            edits.push((token.start..token.end, id.as_bytes().to_vec()));
        }
    }
    if edits.is_empty() {
        return request.body.to_vec();
    }
    edits.sort_by_key(|(range, _)| range.start);
    let borrowed: Vec<(Range<usize>, &[u8])> = edits
        .iter()
        .map(|(range, bytes)| (range.clone(), bytes.as_slice()))
        .collect();
    splice(request.body, &borrowed)
}

fn without_tasks(capabilities: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(capabilities) else {
        return "{}".to_owned();
    };
    if let Some(extensions) = value
        .get_mut("extensions")
        .and_then(serde_json::Value::as_object_mut)
    {
        extensions.remove(TASKS);
    }
    value.to_string()
}

fn params_across(out: &mut Vec<u8>, params: &Params<'_>, change: Rewrite<'_>) {
    out.push(b'{');
    let mut members = Members {
        out,
        is_first: true,
    };
    if let Some(name) = &params.name {
        members.text("name", change.name.unwrap_or(&name.value));
    }
    if let Some(uri) = &params.uri {
        members.text("uri", &uri.value);
    }
    let raw = [
        ("arguments", params.arguments),
        ("argument", params.argument),
        ("context", params.context),
    ];
    for (key, value) in raw {
        if let Some(value) = value {
            members.raw(key, value.text);
        }
    }
    if let Some(reference) = &params.reference {
        members.key("ref");
        members.out.extend_from_slice(b"{\"type\":");
        escape_into(members.out, &reference.kind);
        if let Some(name) = &reference.name {
            members.out.extend_from_slice(b",\"name\":");
            escape_into(members.out, change.name.unwrap_or(&name.value));
        }
        if let Some(uri) = &reference.uri {
            members.out.extend_from_slice(b",\"uri\":");
            escape_into(members.out, &uri.value);
        }
        members.out.push(b'}');
    }
    if let Some(responses) = change.input_responses {
        members.raw("inputResponses", responses);
    }
    if let Some(state) = change.request_state {
        members.text("requestState", state);
    }
    members.key("_meta");
    meta_across(members.out, &params.meta, change);
    out.push(b'}');
}

/// Progress and trace context cross; what only one era knows does not.
fn meta_across(out: &mut Vec<u8>, meta: &Meta<'_>, change: Rewrite<'_>) {
    out.push(b'{');
    let mut members = Members {
        out,
        is_first: true,
    };
    if change.to == Era::Modern {
        match change.client {
            Some(speaker) => {
                modern_meta(&mut members, speaker.client);
                if let Some(level) = speaker.log_level {
                    members.text("io.modelcontextprotocol/logLevel", level);
                }
            }
            None => modern_meta(&mut members, &ClientFacts::portal()),
        }
    }
    if let Some(token) = meta.progress_token {
        members.raw("progressToken", change.own_id.unwrap_or(token.text));
    }
    for (key, value) in &meta.others {
        members.raw(key, value.text);
    }
    out.push(b'}');
}

fn modern_meta(members: &mut Members<'_>, client: &ClientFacts) {
    members.text(
        "io.modelcontextprotocol/protocolVersion",
        Revision::LATEST_MODERN.as_str(),
    );
    members.raw("io.modelcontextprotocol/clientInfo", &client.info);
    members.raw(
        "io.modelcontextprotocol/clientCapabilities",
        &client.capabilities,
    );
}

/// A request of the portal itself. `members` is the inside of `params`, without braces and without `_meta`.
#[must_use]
pub fn own_request(id: &str, method: &str, members_json: &str, era: Era) -> Vec<u8> {
    let mut out = Vec::with_capacity(members_json.len().saturating_add(256));
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    escape_into(&mut out, id);
    out.extend_from_slice(b",\"method\":");
    escape_into(&mut out, method);
    out.extend_from_slice(b",\"params\":{");
    out.extend_from_slice(members_json.as_bytes());
    if era == Era::Modern {
        out.extend_from_slice(if members_json.is_empty() {
            b"\"_meta\":{"
        } else {
            b",\"_meta\":{"
        });
        modern_meta(
            &mut Members {
                out: &mut out,
                is_first: true,
            },
            &ClientFacts::portal(),
        );
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
    out
}

/// Writes the members of an object, commas included.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl Members<'_> {
    fn key(&mut self, key: &str) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        escape_into(self.out, key);
        self.out.push(b':');
    }

    fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
    }

    fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        escape_into(self.out, text);
    }
}

/// Adds what a modern client requires of a result and a legacy server does not send (MCP 2026-07-28, schema `Result`
/// and `CacheableResult`). Returns the members to insert after the result's opening brace.
#[must_use]
pub fn result_supplement(needs_type: bool, needs_ttl: bool, needs_scope: bool) -> String {
    let members = [
        (needs_type, "\"resultType\":\"complete\""),
        (needs_ttl, "\"ttlMs\":0"),
        (needs_scope, "\"cacheScope\":\"private\""),
    ];
    let needed = members.into_iter().filter(|(needed, _)| *needed);
    needed
        .map(|(_, member)| member)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::Message;
    use serde_json::{Value, json};

    fn rewritten(body: &str, change: Rewrite<'_>) -> String {
        let Ok(Message::Request(request)) = Message::parse(body.as_bytes()) else {
            panic!("{body}")
        };
        String::from_utf8(rewrite(&request, change)).unwrap()
    }

    const MODERN: &str = r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"jira_get","arguments":{"k":1},"requestState":"sealed","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{},"a/b":{}}},"traceparent":"00-1","progressToken":"p"}}}"#;

    #[test]
    fn within_an_era_only_what_must_change_changes() {
        let change = Rewrite {
            from: Era::Modern,
            to: Era::Modern,
            name: Some("get"),
            request_state: Some("theirs"),
            input_responses: None,
            client: None,
            own_id: None,
        };
        let text = rewritten(MODERN, change);
        let expected = MODERN
            .replace("jira_get", "get")
            .replace("sealed", "theirs")
            .replace(
                r#"{"io.modelcontextprotocol/tasks":{},"a/b":{}}"#,
                r#"{"a/b":{}}"#,
            );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_modern_call_becomes_a_legacy_one() {
        let change = Rewrite {
            from: Era::Modern,
            to: Era::Legacy,
            name: Some("get"),
            request_state: None,
            input_responses: None,
            client: None,
            own_id: None,
        };
        let value: Value = serde_json::from_str(&rewritten(MODERN, change)).unwrap();
        assert_eq!(
            value["params"],
            json!({"name":"get","arguments":{"k":1},"_meta":{"progressToken":"p","traceparent":"00-1"}})
        );
    }

    #[test]
    fn a_legacy_completion_becomes_a_modern_one() {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"wiki_p"},"argument":{"name":"a","value":"b"}}}"#;
        let change = Rewrite {
            from: Era::Legacy,
            to: Era::Modern,
            name: Some("p"),
            request_state: None,
            input_responses: None,
            client: None,
            own_id: None,
        };
        let value: Value = serde_json::from_str(&rewritten(body, change)).unwrap();
        assert_eq!(
            value["params"]["ref"],
            json!({"type":"ref/prompt","name":"p"})
        );
        assert_eq!(
            value["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
            "2026-07-28"
        );
        assert_eq!(
            value["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"],
            json!({})
        );
    }

    #[test]
    fn own_requests_are_messages() {
        for era in [Era::Legacy, Era::Modern] {
            for members in ["", "\"cursor\":\"c\""] {
                let body = own_request("i", "tools/list", members, era);
                assert!(matches!(Message::parse(&body), Ok(Message::Request(_))));
            }
        }
    }
}
