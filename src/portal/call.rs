//! One governed request: `tools/call`, `prompts/get`, `resources/read`, `completion/complete`, subscriptions, and what is
//! asked about the task a call became.
//!
//! Steps 4 to 10 of the pipeline, in order.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::caller::{Caller, Deed, Ending};
use super::find::find;
use super::finisher::Finisher;
use super::keeper::Keeper;
use super::line::is_on_line;
use super::ports::{Original, Ports, random_id};
use super::questions::askable;
use super::record::Again;
use super::reply::{Reply, ReplyBody};
use super::send::{ModernCall, Reading, Replied, one, send_legacy, send_modern};
use super::state::{self, Asked, State};
use super::tasks::{self, TaskPart};
use super::{hold, rounds, stream, subscriptions};
use crate::audit::{Kind, Status};
use crate::catalog::param_headers;
use crate::catalog::resolve::Target;
use crate::catalog::sync;
use crate::config::{PortalServer, Server};
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure, UpstreamFault};
use crate::mcp::{Era, Method, Request};
use crate::policy::{Ask, Permit, decide};
use crate::upstream::body::{Rewrite, rewrite};
use crate::upstream::status_fault;

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
pub(super) type Ended = (PortalError, bool);

pub(super) fn unrecorded(error: impl Into<PortalError>) -> Ended {
    (error.into(), false)
}

#[expect(clippy::too_many_lines, reason = "the steps of a call, in their order")]
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
    let (mut target, handle) = find(ports, caller, method, request, &off, deed)
        .await
        .map_err(unrecorded)?;
    let place = target
        .server(&caller.portal)
        .ok_or_else(|| unrecorded(Internal::Platform))?;
    let server = &place.server;
    deed.server = Some(server.id.clone());
    deed.target = Some(target.name.clone());
    let state =
        opened_state(ports, caller, method, request, server, &target.name).map_err(unrecorded)?;
    if let (Some(State::Held(held)), false) = (&state, ports.is_holding()) {
        check_param_headers(caller, request, &target).map_err(unrecorded)?;
        return boxed(elsewhere(ports, caller, &held.object, request)).await;
    }

    // (5) Policy.
    let permit = match permit(caller, place, method, request, &target, deed) {
        Ok(permit) => permit,
        Err(error) => {
            if let Some(State::Held(held)) = &state {
                hold::abandon(ports, &held.call);
            }
            return Err(unrecorded(error));
        }
    };
    if permit.is_write() && ports.store_is_away() {
        return Err(unrecorded(Rejection::StoreAway));
    }
    if caller.era == Era::Legacy {
        target.snapshot = sync::ask_legacy(ports, server, &target.snapshot).await;
    }
    let era = match &state {
        Some(State::Held(_)) => Era::Legacy,
        _ => target
            .snapshot
            .facts
            .era_for(caller.era)
            .ok_or_else(|| unrecorded(failure(server, UpstreamFault::NoCommonRevision)))?,
    };
    if method.is_subscription() && ports.feeds().is_none() {
        return Err(unrecorded(Rejection::SubscriptionNeedsSession));
    }
    if !method.exists_in(era) {
        // A modern server has no such method: the portal subscribes for the client.
        let asked = subscriptions::answer(ports, caller, request, deed, place, permit);
        let answered = boxed(asked).await;
        return answered.map_err(unrecorded);
    }
    let askable = askable_client(caller, era, method, request);
    if !ports.is_holding() {
        check_param_headers(caller, request, &target).map_err(unrecorded)?;
        if let Some(capabilities) = &askable {
            let object = hold::object_name(caller, server, capabilities);
            return boxed(elsewhere(ports, caller, &object, request)).await;
        }
    }

    let mut finisher = Finisher::new(
        ports,
        caller,
        deed.clone(),
        server.clone(),
        era,
        method,
        permit,
    );
    finisher.about(request);
    finisher.log_level = finisher
        .log_level
        .filter(|_| era == Era::Legacy && target.snapshot.facts.logging);
    finisher.askable = askable;
    finisher.route.on_line = era == Era::Legacy && is_on_line(server, &target.snapshot.facts);
    if finisher.route.on_line && method.is_subscription() {
        return Err(unrecorded(failure(server, UpstreamFault::NoSubscriptions)));
    }
    let declares_tasks =
        era == Era::Modern && target.snapshot.facts.tasks && tasks::declares(caller, request);
    finisher.task = TaskPart::new(handle, method, declares_tasks);
    if let Some(State::Held(held)) = state {
        return boxed(hold::retry(finisher, request, held)).await;
    }
    if state == Some(State::Again) && !hold::follows_links(request) {
        return Err(unrecorded(Rejection::InputRefused));
    }

    // (7) What goes out.
    let shares_session = ports.client().is_none() || caller.era == Era::Modern;
    let own_id =
        (era == Era::Legacy && shares_session).then(|| format!("\"{}\"", caller.request_id));
    if let Some(own_id) = &own_id {
        finisher.sent_id.clone_from(own_id);
    }
    if caller.era == Era::Legacy && ports.kept().is_some() {
        finisher.route.call = Some(random_id(ports));
    }
    finisher.again = rounds::again(ports, caller, (era, method), request, &target);
    let server_state = match &state {
        Some(State::Server(state)) => Some(state.as_str()),
        _ => None,
    };
    let body = rewrite(
        request,
        Rewrite {
            from: caller.era,
            to: era,
            name: names_something(method).then_some(target.name.as_str()),
            request_state: server_state,
            input_responses: None,
            own_id: own_id.as_deref(),
            client: finisher.again.as_deref().map(Again::speaker),
            declares_tasks,
            task_id: finisher.task.id(),
        },
    );
    finisher.inspect_outgoing(&body);
    deed.seen = finisher.deed.seen;

    // (10, first half) A write's intent is durable before it leaves.
    finisher.intend().await.map_err(unrecorded)?;

    // (8) Upstream.
    ports.note_in_flight(request.id.text, Some(&server.id));
    if finisher.askable.is_some() {
        return boxed(hold::begin(finisher, body)).await;
    }
    let replied = match era {
        Era::Modern if finisher.again.is_some() && finisher.route.call.is_some() => {
            return boxed(rounds::first(finisher, body)).await;
        }
        Era::Modern => {
            let call = ModernCall {
                method,
                name: finisher.task.id().unwrap_or(&target.name).to_owned(),
                headers: mirrored(&target, request),
                body,
            };
            send_modern(&finisher.route, call).await
        }
        Era::Legacy => {
            let level = finisher.log_level.as_deref();
            send_legacy(&finisher.route, &finisher.sent_id, level, body).await
        }
    };
    let replied = replied.map_err(|fault| unrecorded(failure(server, fault)))?;

    // (9, 10) What comes back.
    answer(finisher, replied).await
}

/// What few calls do, on the heap: the others then carry no room for it, and an isolate that has no such call does not
/// compile it.
fn boxed<'f, T>(work: impl Future<Output = T> + 'f) -> LocalBoxFuture<'f, T> {
    Box::pin(work)
}

/// Has an object do the whole of a call: what can be asked in the middle outlives its request.
async fn elsewhere<P: Ports>(
    ports: &P,
    caller: &Caller,
    object: &str,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, Ended> {
    let handed = ports.hand_over(caller, object, request.body).await;
    let original = handed.map_err(unrecorded)?;
    Ok(Reply {
        status: 200,
        headers: Vec::new(),
        body: ReplyBody::Original(original),
        call: None,
    })
}

/// What a modern client declared, where its call goes to a legacy server that may ask it.
fn askable_client(
    caller: &Caller,
    era: Era,
    method: Method,
    request: &Request<'_>,
) -> Option<String> {
    let crosses = caller.era == Era::Modern && era == Era::Legacy && method.may_ask();
    let declared = request
        .params
        .meta
        .client_capabilities
        .filter(|_| crosses)?;
    askable(declared.text)
}

fn mirrored(target: &Target, request: &Request<'_>) -> Vec<(String, String)> {
    let tool = target.tool().filter(|tool| !tool.headers.is_empty());
    let arguments = request.params.arguments.map(|raw| raw.text);
    tool.map(|tool| param_headers::of_call(&tool.headers, arguments))
        .unwrap_or_default()
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
    let unknown = || {
        if method.is_about_task() {
            return Rejection::UnknownTask;
        }
        let name = request.params.name.as_ref();
        Rejection::UnknownTool(name.map(|name| name.value.to_string()).unwrap_or_default())
    };
    let names_tool = method == Method::ToolsCall || method.is_about_task();
    let ask = match target.tool().filter(|_| names_tool) {
        Some(tool) => tasks::ask(method, tool),
        None if names_tool => return Err(unknown().into()),
        None => Ask::Read,
    };
    match decide(&caller.admission, &caller.portal, place, ask) {
        Ok(permit) => {
            deed.rule = Some(permit.rule().to_owned());
            deed.is_write = permit.is_write();
            Ok(permit)
        }
        Err(denial) => {
            deed.rule = Some(denial.rule);
            Err(unknown().into())
        }
    }
}

pub(super) fn names_something(method: Method) -> bool {
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

/// What a client brought from an earlier round.
fn opened_state<P: Ports>(
    ports: &P,
    caller: &Caller,
    method: Method,
    request: &Request<'_>,
    server: &Server,
    target: &str,
) -> Result<Option<State>, PortalError> {
    // Only the modern era has states: what a legacy client writes there is its server's affair.
    let state = request.params.request_state.as_ref();
    let Some(sealed) = state.filter(|_| caller.era == Era::Modern) else {
        return Ok(None);
    };
    let asked = Asked {
        method,
        server: &server.id,
        target,
        arguments: request.params.arguments.map_or("", |raw| raw.text),
    };
    state::open(ports, caller, asked, &sealed.value).map(Some)
}

fn failure(server: &Server, fault: UpstreamFault) -> UpstreamFailure {
    UpstreamFailure {
        server: server.id.clone(),
        fault,
    }
}

/// (9, 10) Turns the reply into the client's.
pub(super) async fn answer<P: Ports>(
    finisher: Finisher<P>,
    replied: Replied<P::Body>,
) -> Result<Reply<Original<P>>, Ended> {
    let fault = |fault: UpstreamFault| unrecorded(failure(&finisher.route.server, fault));
    let (status, whole) = match replied.read().await.map_err(fault)? {
        Reading::Whole(status, whole) => (status, whole),
        Reading::Events(body) => {
            let messages = finisher.route.source(body).messages();
            return boxed(stream::answer(finisher, messages)).await;
        }
        Reading::Line(opened) => {
            let messages = finisher.call_on_line(*opened);
            return boxed(stream::answer(finisher, messages)).await;
        }
    };
    let outcome = match finisher.read(&whole.bytes, status) {
        Ok(outcome) if outcome.asks.is_some() => {
            return boxed(stream::answer(finisher, one(Ok(whole.bytes)))).await;
        }
        Ok(outcome) => outcome,
        Err(reason) => {
            let meant = status_fault(status, None).unwrap_or(UpstreamFault::BadAnswer(reason));
            return Err(fault(meant));
        }
    };
    // A cancellation from here on is too late: the end is being recorded.
    if let (Some(_), Some(kept)) = (&finisher.again, finisher.route.ports.kept()) {
        kept.forget_cancel(&finisher.request_id);
    }
    let status = outcome.http;
    let changed = finisher
        .finish(outcome, whole.bytes.len())
        .await
        .map_err(|error| (error, true))?;
    let body = match changed {
        Some(bytes) => ReplyBody::Json(bytes),
        None => ReplyBody::Original(whole.original),
    };
    Ok(Reply {
        status,
        headers: Vec::new(),
        body,
        call: None,
    })
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
