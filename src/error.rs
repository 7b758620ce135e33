//! Errors with three blames, and the one place where an error becomes an answer.
//!
//! Inside they are rich; outside bland. A refusal's `Display` is a closed label set for audit and metrics: no values in
//! it. What the caller is told comes from [`to_wire`] alone, and forbidden reads exactly like unknown there.

use std::borrow::Cow;

use crate::identity::TokenRefusal;
use crate::mcp::message::BadMessage;
use crate::mcp::version::{Era, Revision};

/// Anything that ends a request early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortalError {
    /// The caller is to blame.
    Rejected(Rejection),
    /// An upstream server is to blame.
    Upstream(UpstreamFailure),
    /// The portal is to blame.
    Internal(Internal),
}

/// What a caller did that the portal does not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The body is no acceptable message.
    BadMessage(BadMessage),
    /// The body is larger than the bound.
    BodyTooLarge,
    /// A header is longer than any header the portal reads.
    HeaderTooLong,
    /// The content type is not JSON.
    ContentType,
    /// The client does not accept JSON and event streams.
    NotAcceptable,
    /// The `Origin` header names a foreign site.
    BadOrigin,
    /// The path has no such HTTP method.
    HttpMethod,
    /// No such path or host.
    NotFound,
    /// A header and the body disagree.
    HeaderMismatch(Cow<'static, str>),
    /// A modern request lacks required metadata.
    MissingMeta(&'static str),
    /// The revision is not spoken.
    UnsupportedVersion(String),
    /// No such method in this era.
    UnknownMethod(String),
    /// Parameters that do not fit the method.
    BadParams(Cow<'static, str>),
    /// No such tool for this caller: unknown and forbidden alike.
    UnknownTool(String),
    /// No such prompt for this caller.
    UnknownPrompt(String),
    /// No such resource for this caller.
    UnknownResource(String),
    /// No credential, or one that does not hold.
    Unauthenticated(Option<TokenRefusal>),
    /// The caller is known, and no access rule of this portal admits them.
    NotAdmitted,
    /// The session id is unknown or ended.
    UnknownSession,
    /// A sealed value was forged, expired, or belongs to somebody or something else.
    BadSeal,
    /// The call needs the caller's input, which cannot cross from this server's era to the client's yet.
    InputAcrossEras,
    /// Subscriptions to this server's resources cannot cross eras yet.
    SubscriptionAcrossEras,
    /// An answer to a request that no server is waiting for.
    NobodyWaits,
    /// The client did not declare a capability that the answer needs.
    MissingCapability(&'static str),
    /// Too many of something at once; the text says of what.
    TooMany(&'static str),
    /// The portal has no active configuration yet.
    SetUpRequired,
    /// The store has been away too long to go on.
    StoreAway,
}

/// How an upstream failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFailure {
    /// The server's id in the configuration.
    pub server: String,
    /// What happened.
    pub fault: UpstreamFault,
}

/// What an upstream did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamFault {
    /// No connection, or it broke before an answer.
    Unreachable,
    /// No answer within the server's time-out, in milliseconds.
    TimedOut(u64),
    /// An HTTP status that is no protocol answer.
    Status(u16),
    /// It wants a credential the portal does not have or that it no longer accepts.
    Unauthorized,
    /// It asked to wait, for this many seconds where it said so.
    RateLimited(Option<u32>),
    /// It tried to send the request elsewhere; credentials never follow.
    Redirected,
    /// It answered, but with nothing that is a protocol message.
    BadAnswer(&'static str),
    /// Its answer is larger than the bound.
    TooLarge,
    /// Its stream ended before the answer.
    Cut,
    /// Its session ended in the middle of a call that may have had an effect, so the call was not repeated.
    SessionLost,
    /// The server speaks no revision the portal speaks.
    NoCommonRevision,
    /// The credential the configuration names is not among the worker's secrets.
    NoCredential,
    /// It was asked a moment ago and failed; it is asked again after a short pause.
    Resting,
}

/// What went wrong in the portal itself. Never carries values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internal {
    /// The audit ledger did not take an event that had to be durable.
    AuditAway,
    /// A write was made, and the ledger did not take its outcome.
    OutcomeUnrecorded,
    /// A session's state could not be read or written.
    SessionState,
    /// The platform refused something that never fails.
    Platform,
}

impl std::fmt::Display for UpstreamFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable => f.write_str("could not be reached"),
            Self::TimedOut(ms) => write!(f, "did not answer within {ms} ms"),
            Self::Status(status) => write!(f, "answered with HTTP status {status}"),
            Self::Unauthorized => f.write_str("refused the portal's credential"),
            Self::RateLimited(Some(seconds)) => write!(f, "asks to wait {seconds} s (rate limit)"),
            Self::RateLimited(None) => f.write_str("asks to wait (rate limit)"),
            Self::Redirected => f.write_str("answered with a redirect, which is not followed"),
            Self::BadAnswer(reason) => write!(f, "gave an answer that is no protocol message ({reason})"),
            Self::TooLarge => f.write_str("gave an answer that is too large"),
            Self::Cut => f.write_str("ended its stream before the answer"),
            Self::SessionLost => {
                f.write_str("ended its session during the call, which was not repeated since it may have had an effect")
            }
            Self::NoCommonRevision => f.write_str("speaks no protocol revision that the portal speaks"),
            Self::NoCredential => f.write_str("needs a credential that the portal does not have; tell its administrator"),
            Self::Resting => f.write_str("failed a moment ago and will be asked again shortly"),
        }
    }
}

impl std::fmt::Display for UpstreamFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "server '{}' {}", self.server, self.fault)
    }
}

impl From<Rejection> for PortalError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<UpstreamFailure> for PortalError {
    fn from(failure: UpstreamFailure) -> Self {
        Self::Upstream(failure)
    }
}

impl From<Internal> for PortalError {
    fn from(internal: Internal) -> Self {
        Self::Internal(internal)
    }
}

impl From<BadMessage> for PortalError {
    fn from(bad: BadMessage) -> Self {
        Self::Rejected(Rejection::BadMessage(bad))
    }
}

impl PortalError {
    /// The label with what a closed set of its own adds to it: why a token was refused.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Rejected(Rejection::Unauthenticated(Some(refusal))) => {
                format!("{}: {refusal}", self.label())
            }
            _ => self.label().to_owned(),
        }
    }

    /// The label of audit rows and metrics: a closed set.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.label(),
            Self::Upstream(failure) => failure.fault.label(),
            Self::Internal(Internal::AuditAway) => "audit_away",
            Self::Internal(Internal::OutcomeUnrecorded) => "outcome_unrecorded",
            Self::Internal(Internal::SessionState) => "session_state",
            Self::Internal(Internal::Platform) => "platform",
        }
    }
}

impl Rejection {
    fn label(&self) -> &'static str {
        match self {
            Self::BadMessage(BadMessage::NotJson(_)) => "not_json",
            Self::BadMessage(BadMessage::NotRpc(_)) => "not_rpc",
            Self::BadMessage(BadMessage::Batch) => "batch",
            Self::BadMessage(BadMessage::BadParams(_)) | Self::BadParams(_) => "bad_params",
            Self::BodyTooLarge => "body_too_large",
            Self::HeaderTooLong => "header_too_long",
            Self::ContentType => "content_type",
            Self::NotAcceptable => "not_acceptable",
            Self::BadOrigin => "bad_origin",
            Self::HttpMethod => "http_method",
            Self::NotFound => "not_found",
            Self::HeaderMismatch(_) => "header_mismatch",
            Self::MissingMeta(_) => "missing_meta",
            Self::UnsupportedVersion(_) => "unsupported_version",
            Self::UnknownMethod(_) => "unknown_method",
            Self::UnknownTool(_) => "unknown_tool",
            Self::UnknownPrompt(_) => "unknown_prompt",
            Self::UnknownResource(_) => "unknown_resource",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::NotAdmitted => "not_admitted",
            Self::UnknownSession => "unknown_session",
            Self::BadSeal => "bad_seal",
            Self::InputAcrossEras => "input_across_eras",
            Self::SubscriptionAcrossEras => "subscription_across_eras",
            Self::NobodyWaits => "nobody_waits",
            Self::MissingCapability(_) => "missing_capability",
            Self::TooMany(_) => "too_many",
            Self::SetUpRequired => "set_up_required",
            Self::StoreAway => "store_away",
        }
    }
}

impl UpstreamFault {
    /// The label of audit rows and metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unreachable => "upstream_unreachable",
            Self::TimedOut(_) => "upstream_timed_out",
            Self::Status(_) => "upstream_status",
            Self::Unauthorized => "upstream_unauthorized",
            Self::RateLimited(_) => "upstream_rate_limited",
            Self::Redirected => "upstream_redirected",
            Self::BadAnswer(_) => "upstream_bad_answer",
            Self::TooLarge => "upstream_too_large",
            Self::Cut => "upstream_cut",
            Self::SessionLost => "upstream_session_lost",
            Self::NoCommonRevision => "upstream_no_common_revision",
            Self::NoCredential => "upstream_no_credential",
            Self::Resting => "upstream_resting",
        }
    }
}

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
        Rejection::InputAcrossEras => Wire::new(
            200,
            SERVER_ERROR,
            "This call needs your input, which this server and your client exchange in different protocol eras. \
             Connect with a client of the server's era.",
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
            wire.data = Some(format!(
                "\"requiredCapabilities\":{{\"{capability}\":{{}}}}"
            ));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_forbidden_tools_are_one_answer() {
        let wire = to_wire(&Rejection::UnknownTool("jira_x".into()).into(), Era::Modern);
        assert_eq!(
            (wire.status, wire.code, &*wire.message),
            (200, INVALID_PARAMS, "Unknown tool: jira_x")
        );
    }

    #[test]
    fn a_missing_resource_has_the_code_of_its_era() {
        let error: PortalError = Rejection::UnknownResource("x://y".into()).into();
        assert_eq!(to_wire(&error, Era::Modern).code, INVALID_PARAMS);
        assert_eq!(to_wire(&error, Era::Legacy).code, RESOURCE_NOT_FOUND);
    }

    #[test]
    fn an_unknown_method_is_a_404_only_in_the_modern_era() {
        let error: PortalError = Rejection::UnknownMethod("x/y".into()).into();
        assert_eq!(to_wire(&error, Era::Modern).status, 404);
        assert_eq!(to_wire(&error, Era::Legacy).status, 200);
    }
}
