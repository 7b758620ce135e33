//! What becomes of a held call while its caller is away: its server's stream is drained, and the call is let go when its
//! caller does not come back in time.

use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::{SinkExt as _, StreamExt as _};

use super::HeldCall;
use crate::audit::{Event, Status, next_event_id};
use crate::config::Server;
use crate::error::PortalError;
use crate::mcp::reply::{Direction, Glance};
use crate::policy::permit_take_back;
use crate::portal::ports::Ports;
use crate::portal::send::Route;
use crate::upstream::legacy_cancel;
use crate::upstream::source::Messages;

/// Drains the server's stream while the call is held, and lets the call go when its caller does not come back in time.
pub(super) async fn pump<P: Ports>(
    route: Route<P>,
    call: String,
    mut messages: Messages,
    mut inbox: mpsc::Sender<Result<Vec<u8>, PortalError>>,
    mut stopped: oneshot::Receiver<HeldCall>,
) {
    let ports = &route.ports;
    let Some(kept) = ports.kept() else { return };
    loop {
        let Some(next) = in_time(&route, &call, &mut stopped, &mut messages.next()).await else {
            return route.linger(messages);
        };
        let Some(message) = next else { return };
        let is_answer = message.as_ref().is_ok_and(|message| {
            Glance::at(message).is_ok_and(|glance| glance.direction() == Some(Direction::Answer))
        });
        kept.with_hold(&call, |hold| hold.is_answered |= is_answer);
        match in_time(&route, &call, &mut stopped, &mut inbox.send(message)).await {
            Some(Ok(())) => {}
            _ => return route.linger(messages),
        }
    }
}

/// Waits for something while the call is held; nothing once it is held no more.
async fn in_time<P: Ports, F: Future + Unpin>(
    route: &Route<P>,
    call: &str,
    stopped: &mut oneshot::Receiver<HeldCall>,
    work: &mut F,
) -> Option<F::Output> {
    let mut work = select(work, stopped);
    loop {
        // Held no more: whoever took it away says so at once.
        let left_ms = left_ms(&route.ports, call).unwrap_or_default();
        let alarm = std::pin::pin!(route.ports.sleep_ms(left_ms));
        match select(work, alarm).await {
            Either::Left((Either::Left((done, _)), _)) => return Some(done),
            Either::Left((Either::Right((stopped, _)), _)) => {
                if let Ok(held) = stopped {
                    cancel(&route.ports, &route.server, &held);
                }
                return None;
            }
            Either::Right(_) if expire(route, call) => return None,
            Either::Right(((), unfinished)) => work = unfinished,
        }
    }
}

/// How long a held call may go on without its caller; nothing where it is held no more.
fn left_ms<P: Ports>(ports: &P, call: &str) -> Option<u64> {
    let kept = ports.kept()?;
    kept.with_hold(call, |hold| match &hold.call {
        Some(held) if hold.is_waiting => held.expires_at_ms.saturating_sub(ports.now_ms()),
        _ => ports.input_wait_ms(),
    })
}

/// Lets a call go whose caller did not come back: the server is told, and so is the audit.
fn expire<P: Ports>(route: &Route<P>, call: &str) -> bool {
    let ports = &route.ports;
    let Some(kept) = ports.kept() else {
        return true;
    };
    let now_ms = ports.now_ms();
    let is_over = kept.with_hold(call, |hold| {
        let expires_at_ms = hold.call.as_ref().map_or(0, |held| held.expires_at_ms);
        hold.is_waiting && now_ms >= expires_at_ms
    });
    if is_over != Some(true) {
        return is_over.is_none();
    }
    let Some(hold) = kept.remove_hold(call) else {
        return true;
    };
    ports.drop_call(call);
    if let Some(held) = hold.call {
        let mut ending = held.ending.clone();
        if hold.is_answered {
            ending.status = Status::Ok;
        } else {
            cancel(&route.ports, &route.server, &held);
        }
        let task_ports = ports.clone();
        ports.spawn(Box::pin(async move { record(&task_ports, ending).await }));
    }
    true
}

/// Writes the row of an end that nobody waits for, and may therefore be the last that this object does.
pub(in crate::portal) async fn record<P: Ports>(ports: &P, mut ending: Event) {
    let mut random = [0_u8; 10];
    ports.fill(&mut random);
    ending.at_ms = ports.now_ms();
    ending.id = next_event_id(ending.at_ms, random);
    if ports.append(vec![ending.clone()]).await.is_err() {
        ports.queue(ending);
    }
}

/// What is left of a call whose object began anew and whose caller did not come back: the row of its end, and the server
/// is told. `text` is the call's row; one that is not over, or no held call's, is left.
pub async fn sweep<P: Ports>(ports: &P, call: &str, text: &str) {
    let Some(held) = HeldCall::parse(text) else {
        return;
    };
    let is_here = ports
        .kept()
        .is_some_and(|kept| kept.with_hold(call, |_| ()).is_some());
    if is_here || ports.now_ms() < held.expires_at_ms {
        return;
    }
    ports.drop_call(call);
    let active = ports.active().await;
    let server = held.ending.server.as_deref().unwrap_or_default();
    let server = active.and_then(|active| active.config.servers.get(server).cloned());
    if let Some(server) = server {
        cancel(ports, &server, &held);
    }
    record(ports, held.ending).await;
}

pub(super) fn cancel<P: Ports>(ports: &P, server: &Rc<Server>, held: &HeldCall) {
    let request = legacy_cancel(server, held.session.as_ref(), &held.sent_id);
    let (task_ports, server) = (ports.clone(), server.clone());
    ports.spawn(Box::pin(async move {
        let permit = permit_take_back(&server.id);
        let _ = task_ports.send(&permit, &server, request).await;
    }));
}
