//! Errors with three blames, and the one place where an error becomes an answer.
//!
//! Inside they are rich; outside bland. A refusal's `Display` is a closed label set for audit and metrics: no values in
//! it. What the caller is told comes from [`to_wire`] alone, and forbidden reads exactly like unknown there.

mod wire;

use std::borrow::Cow;

use crate::identity::TokenRefusal;
use crate::mcp::message::BadMessage;

pub use wire::{
    HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND,
    MISSING_CAPABILITY, PARSE_ERROR, RESOURCE_NOT_FOUND, SERVER_ERROR, UNSUPPORTED_VERSION, Wire,
    to_wire,
};

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
    /// No such task for this caller: forged, another's, expired and forbidden alike.
    UnknownTask,
    /// No credential, or one that does not hold.
    Unauthenticated(Option<TokenRefusal>),
    /// The caller is known, and no access rule of this portal admits them.
    NotAdmitted,
    /// The session id is unknown or ended.
    UnknownSession,
    /// A sealed value was forged, expired, or belongs to somebody or something else.
    BadSeal,
    /// A `requestState` that was used already: each is good for one round.
    InputTaken,
    /// The time to answer a question is over.
    InputExpired,
    /// The client answered a question with an error, or did not follow the links it was to follow.
    InputRefused,
    /// A subscription by a client without a session: there is no stream on which it could hear of updates.
    SubscriptionNeedsSession,
    /// The server does not promise updates of this resource.
    NotSubscribable,
    /// An answer to a request that no server is waiting for.
    NobodyWaits,
    /// The client did not declare a capability that the answer needs.
    MissingCapability(&'static str),
    /// The client did not declare an extension that the request is about.
    MissingExtension(&'static str),
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
    /// Over HTTP+SSE it named an endpoint of another origin for its messages; credentials never go there.
    ForeignEndpoint,
    /// Its connections last for one call, and a subscription would end with it.
    NoSubscriptions,
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
    /// What held a call under way ended, and nobody can go on with it.
    Interrupted,
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
            Self::ForeignEndpoint => {
                f.write_str("named an endpoint of another origin for its messages, where nothing is sent")
            }
            Self::NoSubscriptions => {
                f.write_str("is reached over HTTP+SSE, where the portal keeps no subscriptions")
            }
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
            Self::Internal(Internal::Interrupted) => "call_interrupted",
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
            Self::UnknownTask => "unknown_task",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::NotAdmitted => "not_admitted",
            Self::UnknownSession => "unknown_session",
            Self::BadSeal => "bad_seal",
            Self::InputTaken => "input_taken",
            Self::InputExpired => "input_expired",
            Self::InputRefused => "input_refused",
            Self::SubscriptionNeedsSession => "subscription_needs_session",
            Self::NotSubscribable => "not_subscribable",
            Self::NobodyWaits => "nobody_waits",
            Self::MissingCapability(_) | Self::MissingExtension(_) => "missing_capability",
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
            Self::ForeignEndpoint => "upstream_foreign_endpoint",
            Self::NoSubscriptions => "upstream_no_subscriptions",
            Self::Resting => "upstream_resting",
        }
    }
}

#[cfg(test)]
mod tests;
