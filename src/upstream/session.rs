//! Legacy sessions with upstream servers: opened when first needed, renewed when lost, never noticed by the client.

use serde::Deserialize;

use super::body::own_request;
use super::rpc::{self, Answer, Question};
use super::{legacy_end, legacy_request};
use crate::config::Server;
use crate::error::UpstreamFault;
use crate::limits::SESSION_END_MS_MAX;
use crate::mcp::log_level::severity;
use crate::mcp::{Era, Revision};
use crate::policy::{Permit, permit_take_back};
use crate::portal::ports::{ClientFacts, Ports, UpstreamSession, Upstreams};

pub(super) const INITIALIZE_ID: &str = "portcullis-initialize";
pub(super) const LEVEL_ID: &str = "portcullis-level";

/// What a client says once it knows the revision.
pub(super) const INITIALIZED: &[u8] = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// What a server answers to `initialize`, as far as the portal reads it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialized {
    /// The revision the server chose.
    pub protocol_version: String,
    /// `capabilities`
    #[serde(default)]
    pub capabilities: serde_json::Value,
    /// `serverInfo`
    #[serde(default)]
    pub server_info: serde_json::Value,
    /// `instructions`
    #[serde(default)]
    pub instructions: Option<String>,
}

/// Opens a session on behalf of a client.
///
/// # Errors
/// [`UpstreamFault::NoCommonRevision`] where the server chose a revision the portal does not speak; otherwise how the
/// handshake failed.
pub async fn open<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
    client: &ClientFacts,
) -> Result<(UpstreamSession, Initialized), UpstreamFault> {
    shake_hands(upstreams, permit, server, client, &[]).await
}

/// Opens a session with a server that is known to be modern, to learn whether it also speaks to older clients. It may
/// require of every request what its own revision requires.
///
/// # Errors
/// As [`open`].
pub async fn probe<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
) -> Result<(UpstreamSession, Initialized), UpstreamFault> {
    let headers = [("Mcp-Method", "initialize")];
    shake_hands(upstreams, permit, server, &ClientFacts::portal(), &headers).await
}

async fn shake_hands<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
    client: &ClientFacts,
    headers: &[(&'static str, &str)],
) -> Result<(UpstreamSession, Initialized), UpstreamFault> {
    let mut request = legacy_request(server, None, initialize(client));
    let headers = headers.iter();
    request
        .headers
        .extend(headers.map(|(name, value)| ((*name).into(), (*value).to_owned())));
    let question = Question {
        id: INITIALIZE_ID,
        request,
    };
    let answered = rpc::ask(upstreams, permit, server, question).await?;
    let session_id = answered.session_id.clone();
    if matches!(answered.answer, Some(Answer::Error(_))) {
        return Err(UpstreamFault::NoCommonRevision);
    }
    let (revision, initialized) = negotiated(&answered.into_result()?)?;
    let session = UpstreamSession {
        id: session_id,
        revision,
        log_level: None,
        endpoint: None,
    };
    upstreams
        .send(
            permit,
            server,
            legacy_request(server, Some(&session), INITIALIZED.to_vec()),
        )
        .await?;
    Ok((session, initialized))
}

/// What a client says first.
pub(super) fn initialize(client: &ClientFacts) -> Vec<u8> {
    let members = format!(
        "\"protocolVersion\":\"{}\",\"capabilities\":{},\"clientInfo\":{}",
        Revision::LATEST_LEGACY.as_str(),
        client.capabilities,
        client.info
    );
    own_request(INITIALIZE_ID, "initialize", &members, Era::Legacy)
}

/// Reads the answer to it.
///
/// # Errors
/// [`UpstreamFault::NoCommonRevision`], or an answer of another shape.
pub(super) fn negotiated(result: &str) -> Result<(Revision, Initialized), UpstreamFault> {
    let initialized: Initialized = serde_json::from_str(result)
        .map_err(|_| UpstreamFault::BadAnswer("initialize without protocolVersion"))?;
    let revision = Revision::parse(&initialized.protocol_version)
        .filter(|revision| revision.era() == Era::Legacy)
        .ok_or(UpstreamFault::NoCommonRevision)?;
    Ok((revision, initialized))
}

/// The session with a server on behalf of a principal, opened where there is none.
///
/// # Errors
/// How the handshake failed.
pub async fn current<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
    subject: &str,
) -> Result<UpstreamSession, UpstreamFault> {
    if let Some(session) = ports.upstream_session(subject, &server.id) {
        return Ok(session);
    }
    let client = ports.client().unwrap_or_else(ClientFacts::portal);
    let (session, _) = open(ports, permit, server, &client).await?;
    if let Some(first) = ports.upstream_session(subject, &server.id) {
        // Another call was faster. One session is enough, and only one is listened to.
        end_soon(ports, server, &session);
        return Ok(first);
    }
    ports
        .remember_upstream(subject, &server.id, session.clone())
        .await;
    if let Some(level) = ports.log_level() {
        set_log_level(ports, permit, server, &session, &level).await;
    }
    Ok(session)
}

/// Forgets a session that a server does not know any more, unless another call has renewed it by now.
pub async fn forget<P: Ports>(
    ports: &P,
    server: &Server,
    subject: &str,
    session: &UpstreamSession,
) {
    if is_current(ports, server, subject, session) {
        ports.forget_upstream(subject, &server.id).await;
    }
}

fn is_current<P: Ports>(
    ports: &P,
    server: &Server,
    subject: &str,
    session: &UpstreamSession,
) -> bool {
    let current = ports.upstream_session(subject, &server.id);
    current.is_some_and(|current| current.id == session.id)
}

/// Has a server log as much as somebody wants, where it was told to log less: a session has one level for all who share
/// it, and each of them gets what they asked for.
pub async fn follow_log_level<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
    subject: &str,
    session: &UpstreamSession,
    level: &str,
) {
    let told = session.log_level.as_deref();
    if told.is_some_and(|told| severity(told) <= severity(level)) || severity(level).is_none() {
        return;
    }
    set_log_level(ports, permit, server, session, level).await;
    if !is_current(ports, server, subject, session) {
        return;
    }
    let told = UpstreamSession {
        log_level: Some(level.to_owned()),
        ..session.clone()
    };
    ports.remember_upstream(subject, &server.id, told).await;
}

/// Tells a server how much to log. A server that does not log is no failure.
pub async fn set_log_level<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
    session: &UpstreamSession,
    level: &str,
) {
    let _ = rpc::ask(
        upstreams,
        permit,
        server,
        Question {
            id: LEVEL_ID,
            request: legacy_request(server, Some(session), level_request(level)),
        },
    )
    .await;
}

pub(super) fn level_request(level: &str) -> Vec<u8> {
    let members = format!("\"level\":{}", serde_json::Value::String(level.to_owned()));
    own_request(LEVEL_ID, "logging/setLevel", &members, Era::Legacy)
}

/// Ends a session that is not needed any more. A server that does not care about it is no failure.
pub async fn end<U: Upstreams>(
    upstreams: &U,
    permit: &Permit,
    server: &Server,
    session: &UpstreamSession,
) {
    if session.id.is_some() {
        let _ = upstreams
            .send(permit, server, legacy_end(server, session))
            .await;
    }
}

/// The same in the background, within [`SESSION_END_MS_MAX`].
pub fn end_soon<P: Ports>(ports: &P, server: &Server, session: &UpstreamSession) {
    if session.id.is_none() {
        return;
    }
    let mut request = legacy_end(server, session);
    request.timeout_ms = request.timeout_ms.min(SESSION_END_MS_MAX);
    let (task_ports, server) = (ports.clone(), server.clone());
    ports.spawn(Box::pin(async move {
        let permit = permit_take_back(&server.id);
        let _ = task_ports.send(&permit, &server, request).await;
    }));
}

/// A session that is somebody's own, and ends with them, however they end.
pub struct OwnSession<'a, P: Ports> {
    ports: &'a P,
    server: &'a Server,
    session: UpstreamSession,
}

impl<'a, P: Ports> OwnSession<'a, P> {
    /// Takes charge of one that was opened.
    #[must_use]
    pub fn new(ports: &'a P, server: &'a Server, session: UpstreamSession) -> Self {
        Self {
            ports,
            server,
            session,
        }
    }

    /// The session.
    #[must_use]
    pub fn get(&self) -> &UpstreamSession {
        &self.session
    }
}

impl<P: Ports> Drop for OwnSession<'_, P> {
    fn drop(&mut self) {
        end_soon(self.ports, self.server, &self.session);
    }
}
