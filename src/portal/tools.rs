//! The portal's own tools: which servers there are, and switching them on and off for oneself.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::caller::{Caller, Deed, Ending};
use super::keeper::Keeper;
use super::list::offer;
use super::ports::{Original, Ports};
use super::reply::Reply;
use crate::audit::{Kind, Status};
use crate::error::{Internal, PortalError, Rejection};
use crate::mcp::{Era, Request, reply};
use crate::seal::Binding;

const LIST: &str = "portal_list_servers";
const TOGGLE_ONE: &str = "portal_toggle_single_server";
const TOGGLE: &str = "portal_toggle_servers";

/// The definitions, as JSON texts.
#[must_use]
pub fn definitions() -> Vec<String> {
    let ids = json!({ "type": "array", "items": { "type": "string" } });
    [
        json!({
            "name": LIST,
            "title": "List servers",
            "description": "Lists the servers behind this portal: whether each is switched on, how many tools it has, and what is wrong with it if anything.",
            "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
            "annotations": { "readOnlyHint": true, "openWorldHint": false },
        }),
        json!({
            "name": TOGGLE_ONE,
            "title": "Switch one server",
            "description": "Switches one server on or off for you. What is off is neither listed nor callable.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "server_id": { "type": "string", "description": "An id from portal_list_servers." },
                    "action": { "type": "string", "enum": ["toggle", "untoggle"], "description": "toggle switches it on, untoggle off." },
                },
                "required": ["server_id", "action"],
                "additionalProperties": false,
            },
            "annotations": { "readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false },
        }),
        json!({
            "name": TOGGLE,
            "title": "Switch servers",
            "description": "Switches several servers on or off for you. Without arguments it asks you which.",
            "inputSchema": {
                "type": "object",
                "properties": { "enable": ids, "disable": ids },
                "additionalProperties": false,
            },
            "annotations": { "readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false },
        }),
    ]
    .iter()
    .map(Value::to_string)
    .collect()
}

/// Whether a name is one of the portal's own.
#[must_use]
pub fn is_own(name: &str) -> bool {
    [LIST, TOGGLE_ONE, TOGGLE].contains(&name)
}

/// Calls one of the portal's own tools.
///
/// # Errors
/// Arguments that do not fit, a retry that is not ours, or toggles that could not be stored.
pub async fn call<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    name: &str,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let deed = Deed {
        method: request.method.to_string(),
        target: Some(name.to_owned()),
        rule: Some("portal_tools".to_owned()),
        is_write: name != LIST,
        ..Deed::default()
    };
    // Nothing is begun that could not be recorded.
    if !ports.has_room() {
        let error = PortalError::from(Internal::AuditAway);
        caller.refuse(ports, &deed, error.label());
        return Err(error);
    }
    let arguments: Value = request
        .params
        .arguments
        .and_then(|raw| serde_json::from_str(raw.text).ok())
        .unwrap_or_else(|| json!({}));
    let answered = match name {
        LIST => Ok(list(ports, caller).await),
        TOGGLE_ONE => toggle_one(ports, caller, &arguments).await,
        _ => toggle_several(ports, caller, &arguments, request).await,
    };
    match answered {
        Ok(Answer { result, status }) => {
            let ending = Ending {
                kind: Kind::Outcome,
                status,
                reason: None,
                reply_bytes: result.len() as u64,
            };
            let event = caller.event(ports, &deed, ending);
            if deed.is_write {
                let keeper = Keeper::new(ports, event.clone());
                let recorded = ports.append(vec![event]).await;
                recorded.map_err(|_| Internal::OutcomeUnrecorded)?;
                keeper.let_go();
            } else {
                ports.queue(event);
            }
            Ok(Reply::json(reply::result(request.id.text, &result)))
        }
        Err(error) => {
            caller.refuse(ports, &deed, error.label());
            Err(error)
        }
    }
}

struct Answer {
    result: Vec<u8>,
    status: Status,
}

impl Answer {
    fn text(caller: &Caller, text: &str, structured: Option<&Value>, is_error: bool) -> Self {
        let structured = structured.map(Value::to_string);
        let result = reply::text_result(
            text,
            structured.as_deref(),
            is_error,
            caller.era == Era::Modern,
        );
        Self {
            result,
            status: if is_error {
                Status::ToolError
            } else {
                Status::Ok
            },
        }
    }
}

async fn list<P: Ports>(ports: &P, caller: &Caller) -> Answer {
    let off = caller.toggled_off(ports).await;
    let offer = offer(ports, caller).await;
    let servers: Vec<Value> = caller
        .portal
        .servers
        .iter()
        .map(|place| {
            let server = &place.server;
            let mut entry = json!({
                "id": server.id, "name": server.name, "prefix": server.prefix, "enabled": !off.contains(&server.id),
            });
            let Some(map) = entry.as_object_mut() else { return entry };
            if let Some((_, snapshot)) = offer.parts.iter().find(|(other, _)| other.server.id == server.id) {
                let usable = crate::catalog::listing::merge(
                    crate::catalog::snapshot::Listing::Tools,
                    &caller.portal,
                    &caller.admission,
                    &[(place, snapshot.clone())],
                    0,
                    usize::MAX,
                );
                map.insert("tools".into(), usable.items.len().into());
                map.insert("status".into(), "ready".into());
                if !snapshot.warnings.is_empty() {
                    map.insert("warnings".into(), json!(snapshot.warnings));
                }
            }
            if !server.enabled {
                map.insert("status".into(), "disabled by the administrator".into());
            } else if let Some((_, fault)) = offer.unavailable.iter().find(|(id, _)| *id == server.id) {
                map.insert("status".into(), format!("unavailable: it {fault}").into());
            } else if off.contains(&server.id) {
                map.insert("status".into(), "switched off".into());
            }
            entry
        })
        .collect();
    let text: Vec<String> = servers
        .iter()
        .map(|entry| {
            let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let tools = entry
                .get("tools")
                .map_or_else(String::new, |count| format!(", {count} tools"));
            format!(
                "{} ({}): {}{tools}",
                word("id"),
                word("name"),
                word("status")
            )
        })
        .collect();
    Answer::text(
        caller,
        &text.join("\n"),
        Some(&json!({ "servers": servers })),
        false,
    )
}

async fn toggle_one<P: Ports>(
    ports: &P,
    caller: &Caller,
    arguments: &Value,
) -> Result<Answer, PortalError> {
    let word = |key: &str| arguments.get(key).and_then(Value::as_str);
    let (Some(server), Some(action)) = (word("server_id"), word("action")) else {
        return Err(Rejection::BadParams(
            "Invalid params: server_id and action are strings".into(),
        )
        .into());
    };
    let off = match action {
        "toggle" => false,
        "untoggle" => true,
        _ => {
            return Err(Rejection::BadParams(
                "Invalid params: action is toggle or untoggle".into(),
            )
            .into());
        }
    };
    switch(ports, caller, &[(server.to_owned(), off)]).await
}

async fn toggle_several<P: Ports>(
    ports: &P,
    caller: &Caller,
    arguments: &Value,
    request: &Request<'_>,
) -> Result<Answer, PortalError> {
    if let Some(chosen) = chosen_by_form(ports, caller, request)? {
        return switch(ports, caller, &chosen).await;
    }
    let wanted = wanted(arguments)?;
    if !wanted.is_empty() {
        return switch(ports, caller, &wanted).await;
    }
    if can_show_form(request) {
        return form(ports, caller).await;
    }
    let mut answer = list(ports, caller).await;
    let hint = "Call portal_toggle_servers with enable and disable, each a list of ids:\n";
    let off = caller.toggled_off(ports).await;
    let ids: Vec<String> = caller
        .portal
        .servers
        .iter()
        .map(|place| {
            format!(
                "{} is {}",
                place.server.id,
                if off.contains(&place.server.id) {
                    "off"
                } else {
                    "on"
                }
            )
        })
        .collect();
    answer.result = Answer::text(caller, &format!("{hint}{}", ids.join("\n")), None, false).result;
    Ok(answer)
}

/// `enable` and `disable`, each a list of ids, and nothing else.
fn wanted(arguments: &Value) -> Result<Vec<(String, bool)>, PortalError> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Lists {
        enable: Vec<String>,
        disable: Vec<String>,
    }
    let lists: Lists = serde_json::from_value(arguments.clone()).map_err(|_| {
        Rejection::BadParams("Invalid params: enable and disable are lists of server ids".into())
    })?;
    let on = lists.enable.into_iter().map(|id| (id, false));
    let off = lists.disable.into_iter().map(|id| (id, true));
    Ok(on.chain(off).collect())
}

async fn switch<P: Ports>(
    ports: &P,
    caller: &Caller,
    wanted: &[(String, bool)],
) -> Result<Answer, PortalError> {
    if let Some((unknown, _)) = wanted
        .iter()
        .find(|(id, _)| caller.portal.server(id).is_none())
    {
        let known: Vec<&str> = caller
            .portal
            .servers
            .iter()
            .map(|place| place.server.id.as_str())
            .collect();
        let text = format!(
            "There is no server '{unknown}' here. The servers are: {}.",
            known.join(", ")
        );
        return Ok(Answer::text(caller, &text, None, true));
    }
    if wanted.is_empty() {
        return Ok(Answer::text(caller, "Nothing was changed.", None, false));
    }
    for (server, off) in wanted {
        ports
            .toggle(&caller.grant(), server, *off)
            .await
            .map_err(|()| Internal::SessionState)?;
    }
    let words: Vec<String> = wanted
        .iter()
        .map(|(id, off)| format!("{id} is now {}", if *off { "off" } else { "on" }))
        .collect();
    Ok(Answer::text(
        caller,
        &format!("{}.", words.join(", ")),
        None,
        false,
    ))
}

/// A modern client that can show forms says so with each request.
fn can_show_form(request: &Request<'_>) -> bool {
    request
        .params
        .meta
        .client_capabilities
        .and_then(|raw| serde_json::from_str::<Value>(raw.text).ok())
        .and_then(|declared| declared.get("elicitation").cloned())
        .is_some_and(|elicitation| elicitation.get("form").is_some() || elicitation == json!({}))
}

fn form_binding(caller: &Caller) -> Binding<'_> {
    Binding {
        kind: "request_state",
        principal: &caller.principal.subject,
        place: &caller.portal.id,
        request: TOGGLE,
    }
}

/// Asks which servers, as a form (MCP 2026-07-28, basic/patterns/mrtr).
async fn form<P: Ports>(ports: &P, caller: &Caller) -> Result<Answer, PortalError> {
    let off = caller.toggled_off(ports).await;
    let properties: Map<String, Value> = caller
        .portal
        .servers
        .iter()
        .map(|place| {
            let id = &place.server.id;
            (id.clone(), json!({ "type": "boolean", "title": place.server.name, "default": !off.contains(id) }))
        })
        .collect();
    let mut nonce = [0_u8; 24];
    ports.fill(&mut nonce);
    let state = ports
        .sealer()
        .seal(form_binding(caller), b"form", ports.now_ms(), nonce)
        .ok_or(PortalError::from(Internal::Platform))?;
    let result = json!({
        "resultType": "input_required",
        "inputRequests": {
            "servers": {
                "method": "elicitation/create",
                "params": {
                    "mode": "form",
                    "message": "Which servers should be switched on for you?",
                    "requestedSchema": { "type": "object", "properties": properties },
                },
            },
        },
        "requestState": state,
    });
    Ok(Answer {
        result: result.to_string().into_bytes(),
        status: Status::InputRequired,
    })
}

/// What the form was answered with, where this is its retry.
fn chosen_by_form<P: Ports>(
    ports: &P,
    caller: &Caller,
    request: &Request<'_>,
) -> Result<Option<Vec<(String, bool)>>, PortalError> {
    let Some(state) = &request.params.request_state else {
        return Ok(None);
    };
    ports
        .sealer()
        .open(form_binding(caller), &state.value, ports.now_ms())
        .ok_or(Rejection::BadSeal)?;
    let answers: Value = request
        .params
        .input_responses
        .and_then(|raw| serde_json::from_str(raw.text).ok())
        .unwrap_or_default();
    // Whoever declines has answered, too.
    if answers
        .pointer("/servers/action")
        .is_some_and(|action| action != "accept")
    {
        return Ok(Some(Vec::new()));
    }
    let Some(content) = answers
        .pointer("/servers/content")
        .and_then(Value::as_object)
    else {
        return Ok(None);
    };
    Ok(Some(
        content
            .iter()
            .filter_map(|(id, on)| Some((id.clone(), !on.as_bool()?)))
            .collect(),
    ))
}
