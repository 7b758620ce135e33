//! The MCP endpoint: steps 1 and 2 of the pipeline, then on to the core, or to the session's own object.

mod identify;

use std::rc::Rc;

use futures::future::LocalBoxFuture;
use web_sys::{Request, Response};
use worker::{Context, Env};

use self::identify::identify;
use super::hand_over::{HAND_OVER, HandOver};
use super::ports::{EdgePorts, Lifetime, now_ms};
use super::router::Address;
use super::web::{self, Head};
use super::{pages, reply as edge_reply, store};
use crate::audit::{EarlyEnd, event_id};
use crate::config::{Portal, TokenSource};
use crate::error::{Internal, PortalError, Rejection};
use crate::identity::Principal;
use crate::limits::REQUEST_BODY_BYTES_MAX;
use crate::mcp::message::BadMessage;
use crate::mcp::version::is_modern_date;
use crate::mcp::{Era, Message, Revision};
use crate::policy::admit;
use crate::portal::caller::Active;
use crate::portal::ports::{AuditSink as _, Random as _, random_id};
use crate::portal::{Caller, Reply, handle};

/// Media ranges under which the portal's answers fall.
const ACCEPTABLE: [&str; 5] = [
    "application/json",
    "text/event-stream",
    "application/*",
    "text/*",
    "*/*",
];

/// A request to a portal, as far as the edge has understood it.
struct Arrival {
    ports: EdgePorts,
    request: Request,
    head: Rc<Head>,
    address: Address,
    request_id: String,
    received_ms: u64,
    /// Told in the audit where the request ends early.
    portal_id: String,
    principal: Option<Rc<Principal>>,
    era: Era,
    /// Empty until it is read.
    body: Rc<Vec<u8>>,
}

/// Serves a request to `/mcp` or `/p/{portal}/mcp`.
pub(super) async fn serve(
    request: Request,
    head: Head,
    env: Rc<Env>,
    context: Context,
    address: Address,
    named: Option<&str>,
) -> Response {
    let Some(mut ports) = EdgePorts::new(env, Lifetime::Request(Rc::new(context))) else {
        worker::console_error!("the worker has no SEAL_KEY secret of 32 bytes in base64url");
        return edge_reply::error(&Internal::Platform.into(), Era::Modern, "");
    };
    ports.client_gone = Some(request.signal());
    let received_ms = now_ms();
    let mut random = [0_u8; 10];
    ports.fill(&mut random);
    // Time first: the index of the audit trail then grows at its end.
    let request_id = event_id(received_ms, random);
    let mut arrival = Arrival {
        ports,
        request,
        head: Rc::new(head),
        address,
        request_id,
        received_ms,
        portal_id: named.unwrap_or_default().to_owned(),
        principal: None,
        era: Era::Legacy,
        body: Rc::default(),
    };
    match admitted(&mut arrival, named).await {
        Ok(response) => response,
        Err(error) => refuse(&arrival, &error, named),
    }
}

/// Every refusal is a row, also of requests that never became a message.
fn refuse(arrival: &Arrival, error: &PortalError, named: Option<&str>) -> Response {
    let ports = &arrival.ports;
    let mut random = [0_u8; 10];
    ports.fill(&mut random);
    let end = EarlyEnd {
        request_id: &arrival.request_id,
        received_ms: arrival.received_ms,
        portal: &arrival.portal_id,
        principal: arrival.principal.as_deref(),
        era: arrival.era,
        request_bytes: arrival.body.len() as u64,
    };
    ports.queue(end.refused(error.reason(), now_ms(), random));
    let id = Message::id_of(&arrival.body).map_or("null", |id| id.text);
    let mut reply = Reply::error(id, error, arrival.era, &arrival.request_id);
    match error {
        PortalError::Rejected(Rejection::Unauthenticated(refusal)) => {
            let path = path_of(named);
            let origin = &arrival.address.origin;
            let why = if refusal.is_some() {
                "error=\"invalid_token\", "
            } else {
                ""
            };
            let challenge = format!(
                "Bearer {why}resource_metadata=\"{origin}/.well-known/oauth-protected-resource{path}\""
            );
            reply.headers.push(("WWW-Authenticate", challenge));
        }
        PortalError::Rejected(Rejection::HttpMethod) => {
            reply
                .headers
                .push(("Allow", "POST, GET, DELETE".to_owned()));
        }
        _ => {}
    }
    edge_reply::respond(reply)
}

/// (1, 2) Which portal, from which site, who, and whether they may be here.
async fn admitted(arrival: &mut Arrival, named: Option<&str>) -> Result<Response, PortalError> {
    if arrival.head.is_too_long {
        return Err(Rejection::HeaderTooLong.into());
    }
    let active = active(&arrival.ports).await?;
    let portal = find_portal(&active, &arrival.address, named)?;
    arrival.portal_id.clone_from(&portal.id);
    check_origin(arrival, &portal)?;
    let principal = identify(arrival, &active, &portal, named).await?;
    arrival.principal = Some(principal.clone());
    let admission = admit(&principal, &portal, &active.config.groups).map_err(|_| {
        let refusal = if principal.is_anonymous() {
            Rejection::Unauthenticated(None)
        } else {
            Rejection::NotAdmitted
        };
        PortalError::from(refusal)
    })?;
    match arrival.head.method.as_str() {
        "POST" => {}
        "GET" | "DELETE" => {
            let answered: LocalBoxFuture<'_, _> =
                Box::pin(with_session(arrival, &portal, &principal));
            return answered.await;
        }
        _ => return Err(Rejection::HttpMethod.into()),
    }
    check_content_type(arrival)?;
    let body = Rc::new(read_body(arrival).await?);
    let parsed = Message::parse(&body);
    arrival.body = body.clone();
    arrival.era = era(arrival, &parsed);
    let session_id = arrival.head.session_id.clone();
    let is_initialize = matches!(
        &parsed,
        Ok(Message::Request(request))
            if arrival.era == Era::Legacy && request.method == "initialize"
    );
    if arrival.era == Era::Legacy {
        check_legacy_version(arrival)?;
        if session_id.is_some() || is_initialize {
            let session_id = match session_id {
                Some(session_id) if !is_initialize => session_id,
                _ => random_id(&arrival.ports),
            };
            // Boxed, so that an isolate that sees no session does not compile it.
            let handed: LocalBoxFuture<'_, _> = Box::pin(hand_over(
                arrival,
                &portal,
                &principal,
                session_id,
                Some(&body),
            ));
            return handed.await;
        }
    }
    let message = parsed?;
    let agent = agent(&principal, &message);
    let revision = match arrival.era {
        Era::Modern => Revision::LATEST_MODERN,
        Era::Legacy => arrival
            .head
            .protocol_version
            .as_deref()
            .and_then(Revision::parse)
            .unwrap_or(Revision::V2025_03_26),
    };
    // The handle, not the request's own `clone`, which would be another request.
    let request = Clone::clone(&arrival.request);
    let head = arrival.head.clone();
    let caller = Rc::new(Caller {
        principal,
        admission,
        portal,
        active,
        agent,
        request_id: arrival.request_id.clone(),
        received_ms: arrival.received_ms,
        era: arrival.era,
        revision,
        request_bytes: body.len() as u64,
        sent_header: Rc::new(move |name| match name {
            "MCP-Protocol-Version" => head.protocol_version.clone(),
            "Mcp-Method" => head.mcp_method.clone(),
            "Mcp-Name" => head.mcp_name.clone(),
            _ => request.headers().get(name).ok().flatten(),
        }),
    });
    Ok(edge_reply::respond(
        handle(&arrival.ports, &caller, &message).await,
    ))
}

async fn active(ports: &EdgePorts) -> Result<Rc<Active>, PortalError> {
    if let Some(active) = store::active(&ports.env).await {
        return Ok(active);
    }
    match store::is_set_up(&ports.env).await {
        Some(false) => Err(Rejection::SetUpRequired.into()),
        _ => Err(Rejection::StoreAway.into()),
    }
}

/// The portal by host, or by path on any host of the company.
fn find_portal(
    active: &Active,
    address: &Address,
    named: Option<&str>,
) -> Result<Rc<Portal>, PortalError> {
    let by_host = active
        .config
        .portal_by_host(&address.host)
        .ok_or(Rejection::NotFound)?;
    match named {
        None => Ok(by_host.clone()),
        Some(id) => active
            .config
            .portal(id)
            .cloned()
            .ok_or_else(|| Rejection::NotFound.into()),
    }
}

/// A browser says which site it acts for; a foreign one may not reach a portal through its visitor.
fn check_origin(arrival: &Arrival, portal: &Portal) -> Result<(), PortalError> {
    let Some(origin) = arrival.head.origin.as_deref() else {
        return Ok(());
    };
    if origin == arrival.address.origin || is_site_of(portal, origin) {
        return Ok(());
    }
    Err(Rejection::BadOrigin.into())
}

/// An origin is a scheme, a host and perhaps a port (RFC 6454, section 6.2); anything else names no site.
fn is_site_of(portal: &Portal, origin: &str) -> bool {
    let Some(authority) = ["https://", "http://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme))
    else {
        return false;
    };
    let (host, port) = authority
        .split_once(':')
        .map_or((authority, None), |(host, port)| (host, Some(port)));
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.is_none_or(is_port) && portal.hostnames.iter().any(|known| known == host)
}

/// A legacy client that names a revision must name one that is spoken (2025-11-25, basic/transports, "Protocol Version
/// Header").
fn check_legacy_version(arrival: &Arrival) -> Result<(), PortalError> {
    match arrival.head.protocol_version.as_deref() {
        Some(version) if Revision::parse(version).is_none() => {
            Err(Rejection::UnsupportedVersion(version.chars().take(100).collect()).into())
        }
        _ => Ok(()),
    }
}

fn check_content_type(arrival: &Arrival) -> Result<(), PortalError> {
    let content_type = arrival.head.content_type.as_deref().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Rejection::ContentType.into());
    }
    let Some(accept) = arrival.head.accept.as_deref() else {
        return Ok(());
    };
    let is_accepted = accept.split(',').any(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        ACCEPTABLE
            .iter()
            .any(|kind| essence.eq_ignore_ascii_case(kind))
    });
    if is_accepted {
        Ok(())
    } else {
        Err(Rejection::NotAcceptable.into())
    }
}

/// Reads the body, never more than the bound.
async fn read_body(arrival: &Arrival) -> Result<Vec<u8>, PortalError> {
    let length = arrival.head.content_length.as_deref();
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > REQUEST_BODY_BYTES_MAX) {
        return Err(Rejection::BodyTooLarge.into());
    }
    let read = web::body(&arrival.request, length.is_some(), REQUEST_BODY_BYTES_MAX).await;
    let body = read.map_err(|()| Internal::Platform)?;
    body.ok_or_else(|| Rejection::BodyTooLarge.into())
}

/// How the client speaks: by its message, and by its headers where the message does not say.
fn era(arrival: &Arrival, parsed: &Result<Message<'_>, BadMessage>) -> Era {
    let head = &arrival.head;
    let header_is_modern = head.protocol_version.as_deref().is_some_and(is_modern_date);
    match parsed {
        Ok(Message::Request(request)) => {
            let meta = request.params.meta.protocol_version.as_deref();
            let says_modern = match meta {
                Some(_) => true,
                None => {
                    header_is_modern
                        || (head.mcp_method.is_some() && head.session_id.is_none())
                        || request.method == "server/discover"
                }
            };
            if says_modern && (request.method != "initialize" || meta.is_some()) {
                Era::Modern
            } else {
                Era::Legacy
            }
        }
        _ if header_is_modern => Era::Modern,
        _ => Era::Legacy,
    }
}

/// The OAuth client, else what the client calls itself.
fn agent(principal: &Principal, message: &Message<'_>) -> Option<String> {
    const AGENT_CHARS_MAX: usize = 200;
    principal.client_id.clone().or_else(|| {
        let Message::Request(request) = message else {
            return None;
        };
        let info = request
            .params
            .meta
            .client_info
            .or(request.params.client_info)?;
        let value: serde_json::Value = serde_json::from_str(info.text).ok()?;
        Some(
            value
                .get("name")?
                .as_str()?
                .chars()
                .take(AGENT_CHARS_MAX)
                .collect(),
        )
    })
}

/// GET and DELETE exist only within a legacy session.
async fn with_session(
    arrival: &mut Arrival,
    portal: &Portal,
    principal: &Rc<Principal>,
) -> Result<Response, PortalError> {
    match arrival.head.session_id.clone() {
        Some(session_id) => hand_over(arrival, portal, principal, session_id, None).await,
        None => Err(Rejection::HttpMethod.into()),
    }
}

/// Passes a request on to the session's own object.
async fn hand_over(
    arrival: &Arrival,
    portal: &Portal,
    principal: &Rc<Principal>,
    session_id: String,
    body: Option<&[u8]>,
) -> Result<Response, PortalError> {
    if session_id.len() != 32 || !session_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Rejection::UnknownSession.into());
    }
    let hand_over = HandOver {
        session_id: session_id.clone(),
        portal: portal.id.clone(),
        principal: (**principal).clone(),
        agent: principal.client_id.clone(),
        request_id: arrival.request_id.clone(),
        received_ms: arrival.received_ms,
        last_event_id: arrival.head.last_event_id.clone(),
    };
    let call = web::ObjectCall {
        binding: "SESSIONS",
        name: &session_id,
        method: &arrival.head.method,
        header: Some((HAND_OVER, &hand_over.to_header())),
        body: body.unwrap_or_default(),
    };
    let response = web::object_call(&arrival.ports.env, &call).await;
    response.ok_or_else(|| Internal::SessionState.into())
}

/// The path of a portal's endpoint.
fn path_of(named: Option<&str>) -> String {
    named.map_or_else(|| "/mcp".to_owned(), |id| format!("/p/{id}/mcp"))
}

/// Protected-resource metadata of a portal (RFC 9728).
pub(super) async fn metadata(env: &Env, address: &Address, rest: &str) -> Response {
    let Some(active) = store::active(env).await else {
        return pages::not_found();
    };
    let named = rest
        .strip_prefix("/p/")
        .and_then(|rest| rest.strip_suffix("/mcp"));
    let is_known = matches!(rest, "" | "/mcp") || named.is_some();
    let Ok(portal) = find_portal(&active, address, named) else {
        return pages::not_found();
    };
    if !is_known {
        return pages::not_found();
    }
    let path = path_of(named);
    let issuers: Vec<&str> = active
        .config
        .issuers
        .iter()
        .filter(|issuer| issuer.source == TokenSource::Authorization)
        .map(|issuer| issuer.issuer.as_str())
        .collect();
    let body = serde_json::json!({
        "resource": format!("{}{path}", address.origin),
        "resource_name": portal.name,
        "authorization_servers": issuers,
        "bearer_methods_supported": ["header"],
    });
    edge_reply::respond(crate::portal::Reply::json(body.to_string().into_bytes()))
}
