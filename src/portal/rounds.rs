//! A legacy client's call on a modern server that asks for input before it answers. The client is asked in its session,
//! and the call goes to the server again with the answers and the server's own state, round by round (MCP 2026-07-28,
//! basic/patterns/mrtr).
//!
//! A modern server keeps nothing between rounds, so a round that waits for the client survives as a row. A request that
//! was on its way to the server when the object ended does not: the call then ends by name and is not repeated.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::LocalBoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::{Ended, unrecorded};
use super::caller::{Caller, Ending};
use super::finisher::Finisher;
use super::hold::record;
use super::inspect::Toward;
use super::kept::{Answers, Given};
use super::ports::{ClientFacts, Original, Parked, Ports};
use super::questions::{Question, askable};
use super::record::{Again, CallRecord};
use super::relay::Relay;
use super::reply::{Outgoing, Reply};
use super::send::{ModernCall, later, one, send_modern};
use super::stream::kept_alive;
use crate::audit::{Kind, Status};
use crate::catalog::param_headers;
use crate::catalog::resolve::Target;
use crate::config::Inspect;
use crate::error::{Internal, PortalError, Rejection, UpstreamFault, to_wire};
use crate::limits::{CLIENT_EVENT_BYTES_MAX, QUESTIONS_MAX, ROUNDS_MAX};
use crate::mcp::reply::{self as wire_reply, Glance};
use crate::mcp::{Era, Message, Method, Request, Text};
use crate::policy::permit_take_back;
use crate::upstream::body::{Rewrite, Speaker, rewrite};
use crate::upstream::source::{Messages, Source};

/// A round of questions under way.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Asking {
    /// Which round of the call.
    round: u32,
    /// The ids under which the client was asked, as JSON text, by the server's keys.
    asked: BTreeMap<String, String>,
    /// What it answered so far.
    answers: Answers,
    /// The server's state, to be given back.
    state: Option<String>,
    /// The call went to the server with the answers: from here on it cannot be gone on with.
    has_left: bool,
    /// Until when the client may answer, in Unix milliseconds.
    expires_at_ms: u64,
}

/// What a modern server asks of a client before it goes on.
pub(super) struct Asks {
    /// By the server's own keys.
    pub(super) questions: BTreeMap<String, Question>,
    /// The server's state, to be given back.
    pub(super) state: Option<String>,
}

impl Asks {
    /// Nothing where a question is none that a client can be asked.
    pub(super) fn read(glance: &Glance<'_>, state: Option<String>) -> Option<Self> {
        let requests: BTreeMap<String, Value> = match glance.input_requests {
            Some(requests) => serde_json::from_str(requests.text).ok()?,
            None => BTreeMap::new(),
        };
        let questions = requests
            .into_iter()
            .map(|(key, request)| Some((key, Question::from_input(&request)?)))
            .collect::<Option<BTreeMap<_, _>>>()?;
        (!questions.is_empty() || state.is_some()).then_some(Self { questions, state })
    }
}

/// The id under which a server knows a round of a call, as JSON text: requests of one call differ.
#[must_use]
pub fn round_id(caller: &Caller, round: u32) -> String {
    format!("\"{}-{round}\"", caller.request_id)
}

/// What a call is made of each time it goes to the server; nothing where it goes there once.
pub(super) fn again<P: Ports>(
    ports: &P,
    caller: &Caller,
    (era, method): (Era, Method),
    request: &Request<'_>,
    target: &Target,
) -> Option<Rc<Again>> {
    if caller.era != Era::Legacy || era != Era::Modern {
        return None;
    }
    let may_go_again = ports.kept().is_some() && method.may_ask();
    let client = ports.client();
    let capabilities = client
        .as_ref()
        .and_then(|client| askable(&client.capabilities));
    let tool = target.tool().filter(|tool| !tool.headers.is_empty());
    let arguments = request.params.arguments.map(|raw| raw.text);
    Some(Rc::new(Again {
        body: if may_go_again {
            String::from_utf8_lossy(request.body).into_owned()
        } else {
            String::new()
        },
        name: target.name.clone(),
        headers: tool
            .map(|tool| param_headers::of_call(&tool.headers, arguments))
            .unwrap_or_default(),
        client: ClientFacts {
            capabilities: capabilities.unwrap_or_else(|| "{}".to_owned()),
            info: client.map_or_else(|| ClientFacts::portal().info, |client| client.info),
        },
        log_level: ports.log_level(),
    }))
}

impl Again {
    /// Who speaks, to a modern server.
    #[must_use]
    pub fn speaker(&self) -> Speaker<'_> {
        Speaker {
            client: &self.client,
            log_level: self.log_level.as_deref(),
        }
    }
}

/// Sends a call that the client may cancel, and that may have rounds, and answers with what comes first.
pub(super) async fn first<P: Ports>(
    finisher: Finisher<P>,
    body: Vec<u8>,
) -> Result<Reply<Original<P>>, Ended> {
    let (Some(again), Some(kept)) = (finisher.again.clone(), finisher.route.ports.kept()) else {
        return Err(unrecorded(Internal::Platform));
    };
    let request_id = finisher.request_id.clone();
    let cancelled = kept.cancelled(&request_id);
    let call = ModernCall {
        method: finisher.method,
        name: again.name.clone(),
        headers: again.headers.clone(),
        body,
    };
    let (route, caller, deed) = (
        finisher.route.clone(),
        finisher.caller.clone(),
        finisher.deed.clone(),
    );
    let sent = Box::pin(async move {
        let replied = send_modern(&finisher.route, call).await;
        let replied = replied.map_err(|fault| unrecorded(finisher.route.failure(fault)))?;
        super::call::answer(finisher, replied).await
    });
    match select(sent, cancelled).await {
        Either::Left((answered, _)) => {
            if answered.as_ref().map_or(true, |reply| reply.call.is_none()) {
                kept.forget_cancel(&request_id);
            }
            answered
        }
        // Superseded by another request of this id.
        Either::Right((Err(_), sent)) => sent.await,
        Either::Right((Ok(()), sent)) => {
            drop(sent);
            let ports = &route.ports;
            ports.note_in_flight(&request_id, None);
            let ending = Ending {
                kind: Kind::Outcome,
                status: Status::Cancelled,
                reason: None,
                reply_bytes: 0,
            };
            record(ports, caller.event(ports, &deed, ending)).await;
            // Whoever cancels gets no answer (2025-11-25, basic/utilities/cancellation).
            Ok(Reply::events(futures::stream::empty().boxed_local()))
        }
    }
}

/// What the next round brings: messages for the client, and where what follows comes from.
pub(super) struct NextRound {
    pub(super) requests: Vec<Vec<u8>>,
    pub(super) sent_id: String,
    pub(super) messages: Messages,
}

/// Whether a round can begin: the client can be asked, and there is an end to it. `round` counts from 1.
///
/// # Errors
/// A capability that the client did not declare, questions without end, or one that no client could receive.
pub(super) fn check<P: Ports>(
    finisher: &Finisher<P>,
    asks: &Asks,
    round: u32,
) -> Result<(), PortalError> {
    let again = finisher.again.as_deref();
    let again = again.filter(|_| finisher.route.call.is_some());
    let declared = again.map(|again| again.client.capabilities.as_str());
    let mut questions = asks.questions.values();
    if let Some(lacks) = questions.find_map(|question| question.missing(declared)) {
        return Err(Rejection::MissingCapability(lacks).into());
    }
    if round > ROUNDS_MAX || asks.questions.len() > QUESTIONS_MAX {
        let fault = UpstreamFault::BadAnswer("questions without end");
        return Err(finisher.route.failure(fault));
    }
    let mut questions = asks.questions.values();
    if questions.any(|question| question.to_request("", "").len() > CLIENT_EVENT_BYTES_MAX) {
        return Err(finisher.route.failure(UpstreamFault::TooLarge));
    }
    Ok(())
}

/// Asks the client, and has the call go on when it has answered. `round` is the one that begins.
///
/// # Errors
/// Nowhere to keep the questions.
pub(super) async fn begin<P: Ports>(
    finisher: &Finisher<P>,
    asks: Asks,
    round: u32,
) -> Result<NextRound, PortalError> {
    let ports = &finisher.route.ports;
    let call = finisher.route.call.as_ref();
    // A caller without a session cannot be asked, nor is there anywhere to wait.
    let call = call.ok_or(Rejection::MissingCapability("elicitation"))?;
    let mut asking = Asking {
        round,
        state: asks.state,
        expires_at_ms: ports.now_ms().saturating_add(ports.input_wait_ms()),
        ..Asking::default()
    };
    let requests = park(finisher, call, &asks.questions, &mut asking).await;
    let requests = requests.inspect_err(|_| {
        // None of them was shown.
        ports.forget_parked(call);
    })?;
    let sent_id = round_id(&finisher.caller, round);
    let messages = wait(finisher, asking);
    Ok(NextRound {
        requests,
        sent_id,
        messages,
    })
}

/// Parks the questions of a round and keeps it: the requests for the client.
async fn park<P: Ports>(
    finisher: &Finisher<P>,
    call: &str,
    questions: &BTreeMap<String, Question>,
    asking: &mut Asking,
) -> Result<Vec<Vec<u8>>, PortalError> {
    let route = &finisher.route;
    let mut requests = Vec::with_capacity(questions.len());
    for (key, question) in questions {
        let parked = Parked::Round {
            call: call.to_owned(),
            key: key.clone(),
        };
        let id = route.ports.park(&route.server.id, parked).await;
        let id = id.ok_or(Rejection::TooMany("questions"))?;
        let unique = id.trim_matches('"').to_owned();
        requests.push(question.to_request(&id, &unique));
        asking.asked.insert(key.clone(), id);
    }
    if keep(finisher, asking) {
        Ok(requests)
    } else {
        Err(Internal::SessionState.into())
    }
}

fn keep<P: Ports>(finisher: &Finisher<P>, asking: &Asking) -> bool {
    let Some(call) = &finisher.route.call else {
        return false;
    };
    let mut record = CallRecord::of(finisher);
    record.asking = Some(asking.clone());
    finisher
        .route
        .ports
        .keep_call(call, &record.to_text(), asking.expires_at_ms)
}

/// The messages of a round: first nothing, until the client has answered; then what the server sends.
fn wait<P: Ports>(finisher: &Finisher<P>, asking: Asking) -> Messages {
    let mut route = finisher.route.clone();
    let (Some(again), Some(call), Some(kept)) = (
        finisher.again.clone(),
        finisher.route.call.clone(),
        route.ports.kept(),
    ) else {
        return one(Err(Internal::SessionState.into()));
    };
    let method = finisher.method;
    let seen = (finisher.caller.portal.inspect == Inspect::Log).then(|| finisher.came_back.clone());
    let keys = asking.asked.keys().cloned();
    let answered = kept.begin_round(&call, keys, asking.answers.clone());
    let sent_id = round_id(&finisher.caller, asking.round);
    let mut record = CallRecord::of(finisher);
    later(async move {
        let ports = &route.ports;
        let answers = {
            let left_ms = asking.expires_at_ms.saturating_sub(ports.now_ms());
            let alarm = std::pin::pin!(ports.sleep_ms(left_ms));
            match select(answered, alarm).await {
                Either::Left((Ok(Ok(answers)), _)) => answers,
                Either::Left(_) => return Err(Rejection::InputRefused.into()),
                Either::Right(_) => return Err(Rejection::InputExpired.into()),
            }
        };
        kept.end_round(&call);
        let Ok(Message::Request(request)) = Message::parse(again.body.as_bytes()) else {
            return Err(Internal::SessionState.into());
        };
        // A person takes minutes, in which rules change: each round is decided anew.
        let decided = record.finisher(ports, &call).await;
        let decided = decided.ok_or_else(|| unknown(method, &request))?;
        route.permit = decided.route.permit;
        let ports = &route.ports;
        record.asking = Some(Asking {
            has_left: true,
            ..asking.clone()
        });
        // Noted before it leaves: it leaves once.
        let expires_at_ms = ports.now_ms().saturating_add(ports.input_wait_ms());
        if !ports.keep_call(&call, &record.to_text(), expires_at_ms) {
            return Err(Internal::SessionState.into());
        }
        let responses = serde_json::to_string(&answers).unwrap_or_default();
        let body = rewrite(
            &request,
            Rewrite {
                from: Era::Legacy,
                to: Era::Modern,
                name: super::call::names_something(method).then_some(again.name.as_str()),
                request_state: asking.state.as_deref(),
                input_responses: Some(&responses),
                own_id: Some(&sent_id),
                client: Some(again.speaker()),
                // A legacy client has no tasks.
                declares_tasks: false,
                task_id: None,
            },
        );
        if let Some(total) = seen {
            let mut seen = total.get();
            seen.look(Toward::Server, &body);
            total.set(seen);
        }
        let call = ModernCall {
            method,
            name: again.name.clone(),
            headers: again.headers.clone(),
            body,
        };
        let replied = send_modern(&route, call).await;
        let replied = replied.map_err(|fault| route.failure(fault))?;
        Ok(replied.messages(route).await)
    })
}

/// What a call reads like that the rules do not allow any more.
fn unknown(method: Method, request: &Request<'_>) -> PortalError {
    let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.value.to_string());
    let name = text(&request.params.name).unwrap_or_default();
    match method {
        Method::ToolsCall => Rejection::UnknownTool(name),
        Method::PromptsGet => Rejection::UnknownPrompt(name),
        _ => Rejection::UnknownResource(text(&request.params.uri).unwrap_or_default()),
    }
    .into()
}

/// The call ended: nothing of it is kept. The ids of questions that the client need not answer any more.
pub(super) fn end<P: Ports>(ports: &P, call: &str) -> Vec<String> {
    if let Some(kept) = ports.kept() {
        kept.end_round(call);
    }
    ports.drop_call(call);
    ports.forget_parked(call)
}

/// The client answered a question of a round. `result` is nothing where it answered with an error.
pub(super) async fn answered<P: Ports>(ports: &P, call: &str, key: &str, result: Option<Value>) {
    let Some(kept) = ports.kept() else { return };
    if let Some((text, _)) = ports.kept_call(call)
        && let Some(mut record) = CallRecord::parse(&text)
        && let Some(asking) = &mut record.asking
        && let Some(answer) = &result
    {
        asking.answers.insert(key.to_owned(), answer.clone());
        let expires_at_ms = asking.expires_at_ms;
        ports.keep_call(call, &record.to_text(), expires_at_ms);
    }
    if kept.give(call, key, result.clone()) == Given::NotHere {
        ports.revive(call).await;
        if result.is_none() {
            kept.give(call, key, None);
        }
    }
}

/// Goes on with a call of which only the row is left: a round that waits for its client, or a stream that the server lets
/// be taken up. Anything else ends by name.
pub async fn revive<P: Ports>(ports: &P, call: &str) -> Option<LocalBoxStream<'static, Outgoing>> {
    let (text, event_id) = ports.kept_call(call)?;
    let record = CallRecord::parse(&text)?;
    let Some(finisher) = record.finisher(ports, call).await else {
        return Some(interrupted(ports, call, &record).await);
    };
    *finisher.route.last_event_id.borrow_mut() = event_id;
    let (messages, round) = match &record.asking {
        Some(asking) if !asking.has_left => (Some(wait(&finisher, asking.clone())), asking.round),
        Some(_) => (None, 0),
        None => (take_up(&finisher).await, 0),
    };
    let Some(messages) = messages else {
        return Some(interrupted(ports, call, &record).await);
    };
    let place = finisher.place();
    ports.note_in_flight(&record.request_id, Some(&place));
    let relay = Relay::revived(finisher, messages, round);
    let events = futures::stream::unfold(relay, |mut relay| async move {
        let (next, _) = relay.next().await?;
        Some((next, relay))
    });
    let now_ms = ports.now_ms();
    Some(kept_alive(ports.clone(), events.boxed_local(), now_ms))
}

async fn take_up<P: Ports>(finisher: &Finisher<P>) -> Option<Messages> {
    let route = &finisher.route;
    let session = finisher.session()?;
    let (ports, permit) = (route.ports.clone(), route.permit.clone());
    let (server, last) = (route.server.clone(), route.last_event_id.clone());
    let source = Source::taken_up(ports, permit, server, session, last, route.call.clone()).await;
    source.ok().map(Source::messages)
}

/// The end of a call that was under way when its object ended.
async fn interrupted<P: Ports>(
    ports: &P,
    call: &str,
    record: &CallRecord,
) -> LocalBoxStream<'static, Outgoing> {
    lost(ports, call, record).await;
    let error = PortalError::from(Internal::Interrupted);
    let wire = to_wire(&error, Era::Legacy);
    let message = wire_reply::error(&record.request_id, &wire, record.audit_id());
    futures::stream::once(std::future::ready(Outgoing::Message(message))).boxed_local()
}

/// Records the end of a call that nobody can go on with.
pub async fn lost<P: Ports>(ports: &P, call: &str, lost: &CallRecord) {
    end(ports, call);
    if let Some((server, request)) = lost.cancel(ports).await {
        let task_ports = ports.clone();
        ports.spawn(Box::pin(async move {
            let permit = permit_take_back(&server.id);
            let _ = task_ports.send(&permit, &server, request).await;
        }));
    }
    record(ports, lost.ending.clone()).await;
}
