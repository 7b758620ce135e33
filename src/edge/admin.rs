//! Readiness, and applying a configuration.

use std::rc::Rc;

use subtle::ConstantTimeEq as _;
use web_sys::{Request, Response};
use worker::{Context, Env};

use super::ports::{EdgePorts, Lifetime, now_ms};
use super::reply as edge_reply;
use super::store::{self, NotActivated};
use super::web::{self, Head};
use crate::audit::{Event, Kind, Status, event_id};
use crate::config::limits::DOCUMENT_BYTES_MAX;
use crate::identity;
use crate::portal::Reply;
use crate::portal::ports::{AuditSink as _, Random as _, random_id};

fn json(status: u16, body: &serde_json::Value) -> Response {
    let mut reply = Reply::json(body.to_string().into_bytes());
    reply.status = status;
    edge_reply::respond(reply)
}

/// 200 once a configuration is active.
pub(super) async fn health(env: &Env) -> Response {
    match store::is_set_up(env).await {
        Some(true) => json(200, &serde_json::json!({ "status": "ok" })),
        Some(false) => json(
            503,
            &serde_json::json!({ "status": "set-up required", "next": "npm run portal -- config apply FILE" }),
        ),
        None => json(
            503,
            &serde_json::json!({ "status": "the database does not answer; were the migrations applied?" }),
        ),
    }
}

/// Validates and activates a configuration. The set-up token is the only key to it until there are administrators.
pub(super) async fn apply_config(
    request: &Request,
    head: &Head,
    env: Rc<Env>,
    context: Context,
) -> Response {
    let Some(ports) = EdgePorts::new(env.clone(), Lifetime::Request(Rc::new(context))) else {
        return json(
            500,
            &serde_json::json!({ "error": "the worker has no SEAL_KEY secret" }),
        );
    };
    let authorization = head.authorization.as_deref().unwrap_or_default();
    let given = identity::bearer_token(authorization).unwrap_or_default();
    let expected = env
        .secret("SETUP_TOKEN")
        .map(|token| token.to_string())
        .unwrap_or_default();
    let is_right = !expected.is_empty() && bool::from(given.as_bytes().ct_eq(expected.as_bytes()));
    if !is_right {
        record(
            &ports,
            Kind::Refusal,
            Status::Refused,
            Some("set_up_token".to_owned()),
            0,
        )
        .await;
        return json(
            401,
            &serde_json::json!({ "error": "Send the worker's SETUP_TOKEN as Authorization: Bearer." }),
        );
    }
    let Ok(read) = web::body(request, false, DOCUMENT_BYTES_MAX).await else {
        return json(400, &serde_json::json!({ "error": "The body broke off." }));
    };
    let Some(read) = read else {
        return json(
            413,
            &serde_json::json!({ "error": "The configuration is larger than 1 MB." }),
        );
    };
    let Ok(body) = String::from_utf8(read) else {
        return json(
            400,
            &serde_json::json!({ "error": "The body is not UTF-8." }),
        );
    };
    match store::activate(&env, &body, "setup").await {
        Ok(revision) => {
            record(
                &ports,
                Kind::Change,
                Status::Ok,
                Some("config_activated".to_owned()),
                revision,
            )
            .await;
            json(201, &serde_json::json!({ "revision": revision }))
        }
        Err(NotActivated::Invalid(errors)) => {
            record(
                &ports,
                Kind::Refusal,
                Status::Refused,
                Some("config_invalid".to_owned()),
                0,
            )
            .await;
            json(422, &serde_json::json!({ "errors": errors }))
        }
        Err(NotActivated::StoreAway) => json(
            503,
            &serde_json::json!({ "error": "The database did not take it. Were the migrations applied?" }),
        ),
    }
}

async fn record(
    ports: &EdgePorts,
    kind: Kind,
    status: Status,
    reason: Option<String>,
    revision: u64,
) {
    let mut random = [0_u8; 10];
    ports.fill(&mut random);
    let now = now_ms();
    let event = Event {
        id: event_id(now, random),
        request_id: random_id(ports),
        at_ms: now,
        kind,
        status,
        reason,
        rule: None,
        portal: String::new(),
        principal: "setup".to_owned(),
        email: None,
        agent: None,
        method: "config/apply".to_owned(),
        server: None,
        target: None,
        era: String::new(),
        is_write: true,
        duration_ms: 0,
        request_bytes: 0,
        reply_bytes: 0,
        revision,
        inspected_out_bytes: None,
        inspected_in_bytes: None,
    };
    if ports.append(vec![event.clone()]).await.is_err() {
        ports.queue(event);
    }
}
