//! A modern client's call on a legacy server that may ask its caller in the middle. The call is held by an object: the
//! server's stream stays open there while the client, round by round, gets the questions as a result and brings the
//! answers with its next request (MCP 2026-07-28, basic/patterns/mrtr).
//!
//! A question is a row before it is a result. What a round answered is noted before the answers leave, so that each
//! leaves once; and the call itself goes to the server once, whatever happens: after the object began anew it is taken
//! up where the server lets it be, else it ends by name.

mod pump;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(super) use self::pump::record;
pub use self::pump::sweep;
use self::pump::{cancel, pump};
use super::call::{Ended, unrecorded};
use super::caller::{Caller, Ending};
use super::finisher::Finisher;
use super::kept::{Hold, Kept};
use super::ports::{Original, Ports, UpstreamSession};
use super::questions::Question;
use super::reply::Reply;
use super::send::{Route, later, send_legacy};
use super::state::{HeldState, State};
use super::{session, stream};
use crate::audit::{Event, Kind, Status};
use crate::config::Server;
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure, UpstreamFault};
use crate::limits::{HELD_CALLS_MAX, HELD_MESSAGES_MAX};
use crate::mcp::Request;
use crate::mcp::reply::{Direction, Glance};
use crate::upstream::legacy_request;
use crate::upstream::source::{Messages, Source};

/// A call that waits, as a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HeldCall {
    /// The round whose state the client has.
    round: u32,
    sent_id: String,
    session: Option<UpstreamSession>,
    /// Not answered yet, by key.
    questions: BTreeMap<String, Open>,
    /// Answered with the latest round: should the object have begun anew before they left, they leave again.
    answered: BTreeMap<String, Open>,
    next_key: u32,
    expires_at_ms: u64,
    /// The row of the audit, should nobody come back.
    ending: Event,
}

/// A question of the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Open {
    /// The server's id for it, as JSON text.
    id: String,
    question: Question,
}

impl HeldCall {
    fn of<P: Ports>(finisher: &Finisher<P>) -> Self {
        Self {
            round: 0,
            sent_id: finisher.sent_id.clone(),
            session: finisher.session(),
            questions: BTreeMap::new(),
            answered: BTreeMap::new(),
            next_key: 0,
            expires_at_ms: 0,
            ending: expiry(finisher),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// When the row is nobody's any more, in Unix milliseconds.
    #[must_use]
    pub fn expires_at_ms(text: &str) -> Option<u64> {
        Self::parse(text).map(|call| call.expires_at_ms)
    }
}

/// What the audit says where the caller never came back.
fn expiry<P: Ports>(finisher: &Finisher<P>) -> Event {
    let ending = Ending {
        kind: Kind::Outcome,
        status: Status::Cancelled,
        reason: Some(
            PortalError::from(Rejection::InputExpired)
                .label()
                .to_owned(),
        ),
        reply_bytes: 0,
    };
    finisher
        .caller
        .event(&finisher.route.ports, &finisher.deed, ending)
}

/// The object that does a caller's calls on a server: one for each grant, server and set of capabilities, since a session
/// with the server is opened for exactly these.
#[must_use]
pub fn object_name(caller: &Caller, server: &Server, capabilities: &str) -> String {
    let mut digest = Sha256::new();
    for part in [&caller.grant(), &server.id, capabilities] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut name = "bridge:".to_owned();
    crate::hex::push(&mut name, &digest.finalize());
    name
}

/// Whether the client followed the links it was asked to.
#[must_use]
pub fn follows_links(request: &Request<'_>) -> bool {
    let responses = request.params.input_responses.map(|raw| raw.text);
    let responses: BTreeMap<String, Value> = responses
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let accepted =
        |response: &Value| response.get("action").and_then(Value::as_str) == Some("accept");
    !responses.is_empty() && responses.values().all(accepted)
}

/// (8 to 10) Sends a call that may be held, and answers with what comes first: its end, or questions.
pub(super) async fn begin<P: Ports>(
    mut finisher: Finisher<P>,
    body: Vec<u8>,
) -> Result<Reply<Original<P>>, Ended> {
    let ports = finisher.route.ports.clone();
    let kept = ports.kept().ok_or_else(|| unrecorded(Internal::Platform))?;
    if kept.holds() >= HELD_CALLS_MAX {
        return Err(unrecorded(Rejection::TooMany(
            "calls that may ask for input",
        )));
    }
    let call = super::ports::random_id(&ports);
    finisher.route.call = Some(call.clone());
    let (route, sent_id) = (finisher.route.clone(), finisher.sent_id.clone());
    let level = finisher.log_level.clone();
    let sent = later(async move {
        let sent = send_legacy(&route, &sent_id, level.as_deref(), body).await;
        let replied = sent.map_err(|fault| route.failure(fault))?;
        Ok(replied.messages(route).await)
    });
    let messages = enter(&finisher, &call, sent, false);
    stream::answer(finisher, messages).await
}

/// Notes the call in memory. What the server says beside the call's stream comes in with what it says there.
fn enter<P: Ports>(finisher: &Finisher<P>, call: &str, own: Messages, has_row: bool) -> Messages {
    let (inject, injected) = mpsc::channel(HELD_MESSAGES_MAX);
    if let Some(kept) = finisher.route.ports.kept() {
        let hold = Hold {
            number: 0,
            sent_id: finisher.sent_id.clone(),
            inject,
            last_event_id: finisher.route.last_event_id.clone(),
            outbox: None,
            stop: None,
            call: None,
            has_row,
            is_waiting: false,
            is_answered: false,
        };
        kept.add_hold(call, hold);
    }
    futures::stream::select(own, injected.map(Ok)).boxed_local()
}

/// The call ended, or nobody wants its end any more.
pub(super) fn end<P: Ports>(ports: &P, call: &str) {
    if let Some(hold) = ports.kept().and_then(|kept| kept.remove_hold(call))
        && hold.has_row
    {
        ports.drop_call(call);
    }
}

/// Lays a call down that asks: the questions are rows, what the server sends from here on is kept for the next round.
///
/// # Errors
/// The rows could not be written. The server is then told that nobody answers.
pub(super) fn lay_down<P: Ports>(
    finisher: &Finisher<P>,
    asked: Vec<(String, Question)>,
    messages: Messages,
) -> Result<Vec<u8>, PortalError> {
    let ports = &finisher.route.ports;
    let (Some(call), Some(kept)) = (finisher.route.call.clone(), ports.kept()) else {
        return Err(Internal::Platform.into());
    };
    let mut held = kept
        .with_hold(&call, |hold| hold.call.take())
        .flatten()
        .unwrap_or_else(|| HeldCall::of(finisher));
    for (id, question) in asked {
        let key = format!("input_{:03}", held.next_key);
        held.next_key = held.next_key.saturating_add(1);
        held.questions.insert(key, Open { id, question });
    }
    held.answered.clear();
    held.round = held.round.saturating_add(1);
    held.session = finisher.session();
    held.ending = expiry(finisher);
    let now_ms = ports.now_ms();
    held.expires_at_ms = now_ms.saturating_add(ports.input_wait_ms());
    if !keep(finisher, &call, &held) {
        return Err(Internal::SessionState.into());
    }
    let state = State::Held(HeldState {
        object: ports.object_name(),
        call: call.clone(),
        round: held.round,
        issued_ms: now_ms,
    });
    let questions = held.questions.iter();
    let result = finisher.asking(
        questions.map(|(key, open)| (key.clone(), &open.question)),
        &state,
    )?;
    rest(&finisher.route, &call, held, messages);
    Ok(result)
}

/// The call waits for its caller. What the server sends is kept meanwhile, and the time runs.
fn rest<P: Ports>(route: &Route<P>, call: &str, held: HeldCall, messages: Messages) {
    let Some(kept) = route.ports.kept() else {
        return;
    };
    let is_pumped = kept.with_hold(call, |hold| hold.stop.is_some());
    let outbox = if is_pumped == Some(true) {
        messages
    } else {
        let (inbox, outbox) = mpsc::channel(HELD_MESSAGES_MAX);
        let (stop, stopped) = oneshot::channel();
        kept.with_hold(call, |hold| hold.stop = Some(stop));
        let pump = pump(route.clone(), call.to_owned(), messages, inbox, stopped);
        route.ports.spawn(Box::pin(pump));
        outbox.boxed_local()
    };
    kept.with_hold(call, |hold| hold.wait(held, outbox));
}

fn keep<P: Ports>(finisher: &Finisher<P>, call: &str, held: &HeldCall) -> bool {
    let ports = &finisher.route.ports;
    let text = serde_json::to_string(held).unwrap_or_default();
    let is_kept = ports.keep_call(call, &text, held.expires_at_ms);
    if let Some(kept) = ports.kept() {
        kept.with_hold(call, |hold| hold.has_row |= is_kept);
    }
    if let Some(id) = finisher.route.last_event_id.borrow().as_deref() {
        ports.note_event_id(call, id);
    }
    is_kept
}

/// The rules have changed against a call that waits: it ends without its caller.
pub(super) fn abandon<P: Ports>(ports: &P, call: &str) {
    let Some(kept) = ports.kept() else { return };
    if let Some(hold) = kept.remove_hold(call) {
        ports.drop_call(call);
        if let Some((stop, held)) = hold.stop.zip(hold.call) {
            let _ = stop.send(held);
        }
    }
}

/// The client comes back with answers: they go to the server, and the call goes on.
pub(super) async fn retry<P: Ports>(
    mut finisher: Finisher<P>,
    request: &Request<'_>,
    state: HeldState,
) -> Result<Reply<Original<P>>, Ended> {
    let ports = finisher.route.ports.clone();
    let kept = ports.kept().ok_or_else(|| unrecorded(Internal::Platform))?;
    let call = state.call.clone();
    let (mut held, event_id) = found(&ports, &kept, &state).map_err(unrecorded)?;
    let is_here = kept.with_hold(&call, |_| ()).is_some();
    finisher.route.call = Some(call.clone());
    finisher.sent_id.clone_from(&held.sent_id);
    finisher.set_session(held.session.clone());
    *finisher.route.last_event_id.borrow_mut() = event_id;
    if held.round != state.round {
        held.questions.append(&mut held.answered);
        held.round = state.round;
    }
    let answers = answers(&held, request).map_err(unrecorded)?;
    finisher.inspect_outgoing(request.body);

    let messages = if is_here {
        let taken = kept.with_hold(&call, |hold| {
            hold.is_waiting = false;
            hold.call = None;
            finisher.route.last_event_id = hold.last_event_id.clone();
            hold.outbox.take()
        });
        taken
            .flatten()
            .ok_or_else(|| unrecorded(Rejection::InputTaken))?
    } else {
        take_up(&finisher, &call, &held).await?
    };
    let before = held.clone();
    for key in answers.keys() {
        if let Some(open) = held.questions.remove(key) {
            held.answered.insert(key.clone(), open);
        }
    }
    held.round = state.round.saturating_add(1);
    held.expires_at_ms = ports.now_ms().saturating_add(ports.input_wait_ms());
    let noted = if answers.is_empty() {
        Ok(())
    } else {
        finisher.intend().await
    };
    let noted = noted.and_then(|()| {
        let is_kept = keep(&finisher, &call, &held);
        is_kept
            .then_some(())
            .ok_or_else(|| Internal::SessionState.into())
    });
    if let Err(error) = noted {
        // Nothing left: the same state is good for another attempt.
        rest(&finisher.route, &call, before, messages);
        return Err(unrecorded(error));
    }
    let let_go = || {
        cancel(&ports, &finisher.route.server, &held);
        end(&ports, &call);
    };
    if let Err(fault) = deliver(&finisher.route, &held, answers).await {
        let_go();
        let server = finisher.route.server.id.clone();
        return Err(unrecorded(UpstreamFailure { server, fault }));
    }
    kept.with_hold(&call, |hold| hold.call = Some(held.clone()));
    if held.questions.is_empty() {
        return stream::answer(finisher, messages).await;
    }
    // The rest is asked again (basic/patterns/mrtr, "Error Handling").
    let asked = lay_down(&finisher, Vec::new(), messages);
    let (status, reason, bytes) = match &asked {
        Ok(result) => (Status::InputRequired, None, result.len()),
        Err(error) => {
            let_go();
            (Status::Interrupted, Some(error.label().to_owned()), 0)
        }
    };
    let recorded = finisher.record(status, reason, bytes).await;
    recorded
        .and(asked)
        .map(Reply::json)
        .map_err(|error| (error, true))
}

/// The call that a state is good for, and where its stream can be taken up once it is in no memory. The object may have
/// begun anew between a round's answers being noted and the client hearing of it: then the call is one round ahead.
fn found<P: Ports>(
    ports: &P,
    kept: &Kept,
    state: &HeldState,
) -> Result<(HeldCall, Option<String>), PortalError> {
    let in_memory = kept.with_hold(&state.call, |hold| hold.call.clone());
    let (held, event_id, round_max) = match (in_memory, ports.kept_call(&state.call)) {
        // A round is under way, or this one was answered.
        (Some(None), _) => return Err(Rejection::InputTaken.into()),
        (Some(Some(held)), _) => (held, None, state.round),
        (None, Some((text, event_id))) => {
            let held = HeldCall::parse(&text).ok_or(Internal::SessionState)?;
            (held, event_id, state.round.saturating_add(1))
        }
        (None, None) => {
            let is_late = ports.now_ms() >= state.issued_ms.saturating_add(ports.input_wait_ms());
            let error = if is_late {
                Rejection::InputExpired
            } else {
                Rejection::InputTaken
            };
            return Err(error.into());
        }
    };
    if !(state.round..=round_max).contains(&held.round) {
        return Err(Rejection::InputTaken.into());
    }
    if ports.now_ms() >= held.expires_at_ms {
        return Err(Rejection::InputExpired.into());
    }
    Ok((held, event_id))
}

/// The answers a request brings to the questions of a call. What was not asked is left alone.
fn answers(held: &HeldCall, request: &Request<'_>) -> Result<BTreeMap<String, Value>, PortalError> {
    let given = request.params.input_responses.map_or("{}", |raw| raw.text);
    let mut given: BTreeMap<String, Value> = serde_json::from_str(given).unwrap_or_default();
    given.retain(|key, _| held.questions.contains_key(key));
    for (key, answer) in &given {
        let asked = held.questions.get(key);
        if let Some(fault) = asked.and_then(|open| open.question.misfit(answer)) {
            let text = format!("Invalid params: inputResponses.{key}: {fault}");
            return Err(Rejection::BadParams(text.into()).into());
        }
    }
    Ok(given)
}

/// The object began anew: the call's stream is taken up where the server lets it be.
async fn take_up<P: Ports>(
    finisher: &Finisher<P>,
    call: &str,
    held: &HeldCall,
) -> Result<Messages, Ended> {
    let route = &finisher.route;
    let source = match held.session.clone() {
        Some(session) => {
            let (ports, permit) = (route.ports.clone(), route.permit.clone());
            let (server, last) = (route.server.clone(), route.last_event_id.clone());
            Source::taken_up(ports, permit, server, session, last, route.call.clone()).await
        }
        None => Err(UpstreamFault::Cut),
    };
    // Another retry of the same state may have been faster.
    if let Some(kept) = route.ports.kept()
        && kept.with_hold(call, |_| ()).is_some()
    {
        return Err(unrecorded(Rejection::InputTaken));
    }
    match source {
        Ok(source) => Ok(enter(finisher, call, source.messages(), true)),
        Err(_) => {
            cancel(&route.ports, &route.server, held);
            route.ports.drop_call(call);
            Err(unrecorded(Internal::Interrupted))
        }
    }
}

/// Sends the answers, each to the question's own id.
async fn deliver<P: Ports>(
    route: &Route<P>,
    held: &HeldCall,
    answers: BTreeMap<String, Value>,
) -> Result<(), UpstreamFault> {
    for (key, answer) in answers {
        let Some(open) = held.answered.get(&key) else {
            continue;
        };
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{answer}}}",
            open.id
        );
        let request = legacy_request(&route.server, held.session.as_ref(), body.into_bytes());
        let reply = route
            .ports
            .send(&route.permit, &route.server, request)
            .await?;
        if reply.status == 404 {
            return Err(UpstreamFault::SessionLost);
        }
        if let Some(fault) = crate::upstream::status_fault(reply.status, reply.retry_after_s) {
            return Err(fault);
        }
    }
    Ok(())
}

/// A message of a legacy server that belongs to no call's own stream: it goes to a held call it can belong to. A question
/// that belongs to none is left: its server hears nothing, as from a client that is not there.
pub async fn from_server<P: Ports>(ports: &P, server: &str, message: &[u8]) {
    let (Some(kept), Ok(glance)) = (ports.kept(), Glance::at(message)) else {
        return;
    };
    let name = glance.method_name();
    let token = match name {
        Some("notifications/progress") => session::param(message, "progressToken"),
        _ => None,
    };
    if name.is_some_and(|name| name.ends_with("/list_changed")) {
        ports.outdate(server).await;
        return;
    }
    // An answer on the session's own stream belongs to nobody.
    if let Some(Direction::Request | Direction::Notification) = glance.direction() {
        kept.inject(message, token.map(|token| token.text));
    }
}
