//! The one place where an error becomes an answer.

use std::borrow::Cow;

use super::{Internal, PortalError, Rejection, UpstreamFault};
use crate::identity::TokenRefusal;
use crate::mcp::message::BadMessage;
use crate::mcp::version::{Era, Revision};

/// An error as it leaves the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// HTTP status.
    pub status: u16,
    /// JSON-RPC error code.
    pub code: i32,
    /// What the caller is told.
    pub message: Cow<'static, str>,
    /// `data` members as `"key":value` JSON text, where the protocol defines any.
    pub data: Option<String>,
}

impl Wire {
    fn new(status: u16, code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            data: None,
        }
    }
}

/// JSON-RPC: the body is no JSON.
pub const PARSE_ERROR: i32 = -32700;
/// JSON-RPC: the body is no message.
pub const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC: no such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// JSON-RPC: parameters do not fit.
pub const INVALID_PARAMS: i32 = -32602;
/// JSON-RPC: our fault.
pub const INTERNAL_ERROR: i32 = -32603;
/// MCP until 2025-11-25: no such resource.
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// Implementation-defined range: transport and upstream failures.
pub const SERVER_ERROR: i32 = -32000;
/// MCP 2026-07-28: header and body disagree.
pub const HEADER_MISMATCH: i32 = -32020;
/// MCP 2026-07-28: the client lacks a capability.
pub const MISSING_CAPABILITY: i32 = -32021;
/// MCP 2026-07-28: the revision is not spoken.
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// What a caller of an era is told. The only place where an error becomes a status and a JSON-RPC code.
///
/// In both eras the transport's own faults are HTTP errors; a well-formed request that fails is HTTP 200 with a JSON-RPC
/// error, except where 2026-07-28 asks for 400 or 404.
#[must_use]
pub fn to_wire(error: &PortalError, era: Era) -> Wire {
    match error {
        PortalError::Rejected(rejection) => rejected(rejection, era),
        PortalError::Upstream(failure) => {
            let mut wire = Wire::new(200, SERVER_ERROR, format!("The {failure}."));
            if let UpstreamFault::RateLimited(Some(seconds)) = failure.fault {
                wire.data = Some(format!("\"retryAfterSeconds\":{seconds}"));
            }
            wire
        }
        PortalError::Internal(Internal::AuditAway) => Wire::new(
            503,
            INTERNAL_ERROR,
            "The audit trail cannot be written right now, so nothing was done. Try again.",
        ),
        PortalError::Internal(Internal::OutcomeUnrecorded) => Wire::new(
            503,
            INTERNAL_ERROR,
            "The call was made, but its outcome could not be recorded, so it is withheld. Check before you repeat it.",
        ),
        PortalError::Internal(Internal::Interrupted) => Wire::new(
            200,
            SERVER_ERROR,
            "The call was interrupted while it was under way. It was not repeated, since it may have had an effect. Check \
             before you repeat it.",
        ),
        PortalError::Internal(Internal::SessionState | Internal::Platform) => Wire::new(
            500,
            INTERNAL_ERROR,
            "Internal error. The request id finds it in the audit trail.",
        ),
    }
}

#[expect(clippy::too_many_lines, reason = "one table, a row for each rejection")]
fn rejected(rejection: &Rejection, era: Era) -> Wire {
    let modern = era == Era::Modern;
    match rejection {
        Rejection::BadMessage(bad) => match bad {
            BadMessage::NotJson(_) => Wire::new(400, PARSE_ERROR, bad.to_string()),
            BadMessage::NotRpc(_) | BadMessage::Batch => {
                Wire::new(400, INVALID_REQUEST, bad.to_string())
            }
            BadMessage::BadParams(_) => Wire::new(
                if modern { 400 } else { 200 },
                INVALID_PARAMS,
                bad.to_string(),
            ),
        },
        Rejection::BodyTooLarge => Wire::new(
            413,
            INVALID_REQUEST,
            "The body is larger than the portal accepts.",
        ),
        Rejection::HeaderTooLong => Wire::new(
            431,
            INVALID_REQUEST,
            "A header is longer than the portal accepts.",
        ),
        Rejection::ContentType => Wire::new(
            415,
            INVALID_REQUEST,
            "Content-Type must be application/json.",
        ),
        Rejection::NotAcceptable => Wire::new(
            406,
            INVALID_REQUEST,
            "Accept must list application/json and text/event-stream.",
        ),
        Rejection::BadOrigin => Wire::new(
            403,
            INVALID_REQUEST,
            "The Origin header names a site this portal does not serve.",
        ),
        Rejection::HttpMethod => Wire::new(405, INVALID_REQUEST, "Method not allowed here."),
        Rejection::NotFound => Wire::new(
            404,
            INVALID_REQUEST,
            "There is nothing here. The MCP endpoint is /mcp.",
        ),
        Rejection::HeaderMismatch(message) => Wire::new(400, HEADER_MISMATCH, message.clone()),
        Rejection::MissingMeta(field) => Wire::new(
            400,
            INVALID_PARAMS,
            format!("Invalid params: _meta lacks {field}, which every request carries."),
        ),
        Rejection::UnsupportedVersion(requested) => {
            let supported: Vec<String> = Revision::ALL
                .iter()
                .map(|r| format!("\"{}\"", r.as_str()))
                .collect();
            let mut requested_json = Vec::new();
            crate::mcp::json::escape_into(&mut requested_json, requested);
            let mut wire = Wire::new(400, UNSUPPORTED_VERSION, "Unsupported protocol version");
            wire.data = Some(format!(
                "\"supported\":[{}],\"requested\":{}",
                supported.join(","),
                String::from_utf8_lossy(&requested_json)
            ));
            wire
        }
        Rejection::UnknownMethod(method) => Wire::new(
            if modern { 404 } else { 200 },
            METHOD_NOT_FOUND,
            format!("Method not found: {method}"),
        ),
        Rejection::BadParams(message) => Wire::new(
            if modern { 400 } else { 200 },
            INVALID_PARAMS,
            message.clone(),
        ),
        Rejection::UnknownTool(name) => {
            Wire::new(200, INVALID_PARAMS, format!("Unknown tool: {name}"))
        }
        Rejection::UnknownPrompt(name) => {
            Wire::new(200, INVALID_PARAMS, format!("Unknown prompt: {name}"))
        }
        Rejection::UnknownResource(uri) => {
            let code = if modern {
                INVALID_PARAMS
            } else {
                RESOURCE_NOT_FOUND
            };
            let mut wire = Wire::new(200, code, "Resource not found");
            let mut uri_json = Vec::new();
            crate::mcp::json::escape_into(&mut uri_json, uri);
            wire.data = Some(format!("\"uri\":{}", String::from_utf8_lossy(&uri_json)));
            wire
        }
        Rejection::Unauthenticated(None) => Wire::new(
            401,
            SERVER_ERROR,
            "Sign in first: send a token of this portal as Authorization: Bearer.",
        ),
        Rejection::Unauthenticated(Some(refusal)) => {
            let hint = if matches!(refusal, TokenRefusal::KeysUnavailable) {
                "The identity provider's keys cannot be had right now. Try again."
            } else {
                "The token was refused. Sign in again for a token of this portal."
            };
            Wire::new(401, SERVER_ERROR, hint)
        }
        Rejection::NotAdmitted => Wire::new(
            403,
            SERVER_ERROR,
            "You may not use this portal. Ask its administrator for access.",
        ),
        Rejection::UnknownSession => Wire::new(
            404,
            SERVER_ERROR,
            "Session not found. Start a new one with initialize.",
        ),
        Rejection::BadSeal => Wire::new(
            200,
            INVALID_PARAMS,
            "The cursor or requestState is not valid here any more. Start the request anew.",
        ),
        Rejection::InputTaken => Wire::new(
            200,
            INVALID_PARAMS,
            "This requestState was used already: each is good for one answer. Start the request anew if it did not end.",
        ),
        Rejection::InputExpired => Wire::new(
            200,
            if modern { INVALID_PARAMS } else { SERVER_ERROR },
            "The time to answer the server's question is over, so the call ended. Start the request anew.",
        ),
        Rejection::InputRefused => Wire::new(
            200,
            SERVER_ERROR,
            "The server's question was not answered with a result, so the call ended.",
        ),
        Rejection::SubscriptionAcrossEras => Wire::new(
            200,
            SERVER_ERROR,
            "This server and your client subscribe in different protocol eras. Connect with a client of the server's era.",
        ),
        Rejection::NobodyWaits => Wire::new(
            400,
            INVALID_REQUEST,
            "Invalid Request: no server waits for an answer with this id.",
        ),
        Rejection::MissingCapability(capability) => {
            let mut wire = Wire::new(
                if modern { 400 } else { 200 },
                MISSING_CAPABILITY,
                format!("This call needs a client that declares the {capability} capability."),
            );
            let required = capability.rsplit('.').fold("{}".to_owned(), |inner, name| {
                format!("{{\"{name}\":{inner}}}")
            });
            wire.data = Some(format!("\"requiredCapabilities\":{required}"));
            wire
        }
        Rejection::TooMany(what) => Wire::new(
            429,
            SERVER_ERROR,
            format!("Too many {what} at once. Try again shortly."),
        ),
        Rejection::SetUpRequired => Wire::new(
            503,
            SERVER_ERROR,
            "This portal has no configuration yet. Its administrator applies one.",
        ),
        Rejection::StoreAway => Wire::new(
            503,
            SERVER_ERROR,
            "The portal cannot reach its store and will not decide from memory. Try again.",
        ),
    }
}
