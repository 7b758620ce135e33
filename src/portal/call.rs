//! One governed request: `tools/call`, `prompts/get`, `resources/read`, `completion/complete` and subscriptions.
//!
//! Steps 4 to 10 of the pipeline, in order.

use std::cell::Cell;
use std::rc::Rc;

use super::caller::{Caller, Deed, Ending};
use super::find::find;
use super::finish::{Finisher, Keeper};
use super::inspect::Toward;
use super::ports::{BodyKind, Original, Ports, UpstreamBody as _};
use super::reply::{Reply, ReplyBody};
use super::send::{Replied, Sending, send};
use super::stream;
use crate::audit::{Kind, Status};
use crate::catalog::param_headers;
use crate::catalog::resolve::Target;
use crate::catalog::sync;
use crate::config::{Inspect, PortalServer, Server};
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure, UpstreamFault};
use crate::limits::REPLY_BODY_BYTES_MAX;
use crate::mcp::{Era, Method, Request};
use crate::policy::{Ask, Permit, decide};
use crate::seal::Binding;
use crate::upstream::body::{Rewrite, rewrite};
use crate::upstream::{may_answer, status_fault};

/// Does one governed request.
///
/// # Errors
/// Whatever ends it before an answer; the refusal or failure is recorded by then.
pub async fn call<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    method: Method,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let mut deed = Deed {
        method: method.as_str().to_owned(),
        ..Deed::default()
    };
    match steps(ports, caller, method, request, &mut deed).await {
        Ok(reply) => Ok(reply),
        Err((error, recorded)) => {
            ports.note_in_flight(request.id.text, None);
            if recorded {
                return Err(error);
            }
            Err(record_failure(ports, caller, &deed, error).await)
        }
    }
}

/// An error, and whether its row is already written.
type Ended = (PortalError, bool);

fn unrecorded(error: impl Into<PortalError>) -> Ended {
    (error.into(), false)
}

async fn steps<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    method: Method,
    request: &Request<'_>,
    deed: &mut Deed,
) -> Result<Reply<Original<P>>, Ended> {
    // Nothing is begun that could not be recorded.
    if !ports.has_room() {
        return Err(unrecorded(Internal::AuditAway));
    }

    // (4) Catalog.
    let off = caller.toggled_off(ports).await;
    let mut target = find(ports, caller, method, request, &off, deed)
        .await
        .map_err(unrecorded)?;
    let place = target
        .server(&caller.portal)
        .ok_or_else(|| unrecorded(Internal::Platform))?;
    let server = &place.server;
    deed.server = Some(server.id.clone());
    deed.target = Some(target.name.clone());

    // (5) Policy.
    let permit = permit(caller, place, method, request, &target, deed).map_err(unrecorded)?;
    if permit.is_write() && ports.store_is_away() {
        return Err(unrecorded(Rejection::StoreAway));
    }
    if caller.era == Era::Legacy {
        target.snapshot = sync::ask_legacy(ports, server, &target.snapshot).await;
    }
    let era = target
        .snapshot
        .facts
        .era_for(caller.era)
        .ok_or_else(|| unrecorded(failure(server, UpstreamFault::NoCommonRevision)))?;
    if !method.exists_in(era) {
        return Err(unrecorded(Rejection::SubscriptionAcrossEras));
    }
    check_param_headers(caller, request, &target).map_err(unrecorded)?;
    let state =
        open_request_state(ports, caller, request, server, &target.name).map_err(unrecorded)?;

    // (7) What goes out.
    let own_id = (era == Era::Legacy && ports.client().is_none())
        .then(|| format!("\"{}\"", caller.request_id));
    let change = Rewrite {
        from: caller.era,
        to: era,
        name: names_something(method).then_some(target.name.as_str()),
        request_state: state.as_deref(),
        own_id: own_id.as_deref(),
    };
    let body = rewrite(request, change);
    if caller.portal.inspect == Inspect::Log {
        deed.seen
            .get_or_insert_default()
            .look(Toward::Server, &body);
    }

    // (10, first half) A write's intent is durable before it leaves.
    if permit.is_write() {
        let intent = Ending {
            kind: Kind::Intent,
            status: Status::Pending,
            reason: None,
            reply_bytes: 0,
        };
        ports
            .append(vec![caller.event(ports, deed, intent)])
            .await
            .map_err(|_| unrecorded(Internal::AuditAway))?;
    }

    // (8) Upstream.
    ports.note_in_flight(request.id.text, Some(&server.id));
    let sending = Sending {
        permit: &permit,
        server,
        era,
        method,
        target: &target,
        sent_id: own_id.as_deref().unwrap_or(request.id.text),
        body,
    };
    let (reply, session) = send(ports, caller, request, sending)
        .await
        .map_err(|fault| unrecorded(failure(server, fault)))?;

    // (9, 10) What comes back.
    let finisher = Finisher {
        ports: ports.clone(),
        caller: caller.clone(),
        deed: deed.clone(),
        came_back: Cell::default(),
        server: server.clone(),
        server_era: era,
        session,
        request_id: request.id.text.to_owned(),
        sent_id: own_id.unwrap_or_else(|| request.id.text.to_owned()),
        progress_token: request
            .params
            .meta
            .progress_token
            .map(|token| token.text.to_owned()),
        method,
        permit: Rc::new(permit),
    };
    answer(finisher, reply).await
}

/// (5) The decision. Forbidden reads like unknown.
fn permit(
    caller: &Caller,
    place: &PortalServer,
    method: Method,
    request: &Request<'_>,
    target: &Target,
    deed: &mut Deed,
) -> Result<Permit, PortalError> {
    let name = || {
        let name = request.params.name.as_ref();
        name.map(|name| name.value.to_string()).unwrap_or_default()
    };
    let ask = match (method, target.tool()) {
        (Method::ToolsCall, Some(tool)) => Ask::Tool {
            name: &target.name,
            read_only: tool.read_only,
        },
        (Method::ToolsCall, None) => return Err(Rejection::UnknownTool(name()).into()),
        _ => Ask::Read,
    };
    match decide(&caller.admission, &caller.portal, place, ask) {
        Ok(permit) => {
            deed.rule = Some(permit.rule().to_owned());
            deed.is_write = permit.is_write();
            Ok(permit)
        }
        Err(denial) => {
            deed.rule = Some(denial.rule);
            Err(Rejection::UnknownTool(name()).into())
        }
    }
}

fn names_something(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsCall | Method::PromptsGet | Method::Complete
    )
}

/// A modern client mirrors arguments in headers where the tool asks for it; they must say what the body says.
fn check_param_headers(
    caller: &Caller,
    request: &Request<'_>,
    target: &Target,
) -> Result<(), PortalError> {
    let Some(tool) = target
        .tool()
        .filter(|tool| !tool.headers.is_empty() && caller.era == Era::Modern)
    else {
        return Ok(());
    };
    let arguments = request.params.arguments.map(|raw| raw.text);
    param_headers::agree(&tool.headers, arguments, &*caller.sent_header)
        .map_err(|message| Rejection::HeaderMismatch(message.into()).into())
}

/// What a server's request state is bound to.
pub(super) fn state_binding<'a>(
    caller: &'a Caller,
    server: &'a Server,
    request: &'a str,
) -> Binding<'a> {
    Binding {
        kind: "request_state",
        principal: &caller.principal.subject,
        place: &server.id,
        request,
    }
}

fn open_request_state<P: Ports>(
    ports: &P,
    caller: &Caller,
    request: &Request<'_>,
    server: &Server,
    target: &str,
) -> Result<Option<String>, PortalError> {
    let Some(state) = &request.params.request_state else {
        return Ok(None);
    };
    let request_name = format!("{} {target}", request.method);
    ports
        .sealer()
        .open(
            state_binding(caller, server, &request_name),
            &state.value,
            ports.now_ms(),
        )
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(Some)
        .ok_or_else(|| Rejection::BadSeal.into())
}

fn failure(server: &Server, fault: UpstreamFault) -> UpstreamFailure {
    UpstreamFailure {
        server: server.id.clone(),
        fault,
    }
}

/// (9, 10) Turns the reply into the client's.
async fn answer<P: Ports>(
    finisher: Finisher<P>,
    replied: Replied<P::Body>,
) -> Result<Reply<Original<P>>, Ended> {
    let fault = |fault: UpstreamFault| unrecorded(failure(&finisher.server, fault));
    let (status, whole) = match replied {
        Replied::Read(status, whole) => (status, whole),
        Replied::Opened(opened) => {
            let messages = finisher.call_on_line(*opened);
            return stream::answer(finisher, messages).await;
        }
        Replied::Unread(reply) => {
            let meant = status_fault(reply.status, reply.retry_after_s);
            match (reply.kind, meant) {
                (_, Some(refused)) if !may_answer(reply.status) => return Err(fault(refused)),
                (BodyKind::Json, _) => {
                    let status = reply.status;
                    let whole = reply.body.whole(REPLY_BODY_BYTES_MAX).await;
                    (status, whole.map_err(fault)?)
                }
                (_, Some(refused)) => return Err(fault(refused)),
                (BodyKind::Events, None) => {
                    let messages = finisher.source(reply.body).messages();
                    return stream::answer(finisher, messages).await;
                }
                (BodyKind::Other, None) => {
                    let reason = "neither JSON nor an event stream";
                    return Err(fault(UpstreamFault::BadAnswer(reason)));
                }
            }
        }
    };
    let outcome = match finisher.read(&whole.bytes, status) {
        Ok(outcome) => outcome,
        Err(reason) => {
            let meant = status_fault(status, None).unwrap_or(UpstreamFault::BadAnswer(reason));
            return Err(fault(meant));
        }
    };
    let changed = finisher
        .finish(outcome, whole.bytes.len())
        .await
        .map_err(|error| (error, true))?;
    let body = match changed {
        Some(bytes) => ReplyBody::Json(bytes),
        None => ReplyBody::Original(whole.original),
    };
    Ok(Reply {
        status: reply_status(finisher.caller.era, status),
        headers: Vec::new(),
        body,
    })
}

/// A JSON-RPC answer is HTTP 200, except that 2026-07-28 gives its own errors 400 and 404.
fn reply_status(era: Era, upstream: u16) -> u16 {
    if era == Era::Modern && matches!(upstream, 400 | 404) {
        upstream
    } else {
        200
    }
}

/// Records an error and returns what the caller is told: where a write was made and its end could not be recorded, that.
async fn record_failure<P: Ports>(
    ports: &P,
    caller: &Caller,
    deed: &Deed,
    error: PortalError,
) -> PortalError {
    let (kind, status) = match error {
        PortalError::Upstream(_) => (Kind::Outcome, Status::UpstreamFailed),
        PortalError::Rejected(_) | PortalError::Internal(_) => (Kind::Refusal, Status::Refused),
    };
    let ending = Ending {
        kind,
        status,
        reason: Some(error.label().to_owned()),
        reply_bytes: 0,
    };
    let event = caller.event(ports, deed, ending);
    let must_be_durable = kind == Kind::Outcome && deed.is_write;
    if !must_be_durable {
        ports.queue(event);
        return error;
    }
    let keeper = Keeper::new(ports, event.clone());
    match ports.append(vec![event]).await {
        Ok(()) => {
            keeper.let_go();
            error
        }
        Err(_) => Internal::OutcomeUnrecorded.into(),
    }
}
