//! A server's own stream in a legacy session: what it says outside of calls.

use futures::channel::oneshot;

use super::ports::{EdgePorts, now_ms};
use super::session_ports::SessionMemory;
use super::upstream::EdgeBody;
use crate::limits::{FEED_STEADY_MS, LISTEN_MS_MAX, UPSTREAM_EVENT_BYTES_MAX};
use crate::mcp::event_stream::{EventReader, StreamFault};
use crate::policy::{Ask, decide};
use crate::portal::ports::{BodyKind, Clock as _, UpstreamBody as _, Upstreams as _};
use crate::portal::{hold, session};
use crate::upstream::legacy_stream;

/// How often a server's own stream is taken up again.
const PUMP_ATTEMPTS_MAX: u32 = 20;

/// Pause before it is.
const PUMP_PAUSE_MS: u64 = 1_000;

/// Reads a server's own stream and passes on what comes. Taken up again where it breaks off or cannot be had just now, a
/// bounded number of times in a row. A server that has none says so, and that is that.
pub(super) async fn pump(
    ports: &EdgePorts,
    memory: &SessionMemory,
    server: &str,
    listening: oneshot::Sender<()>,
) {
    let mut listening = Some(listening);
    let mut last_event_id: Option<String> = None;
    let mut attempts = 0;
    while attempts < PUMP_ATTEMPTS_MAX {
        attempts = attempts.saturating_add(1);
        let (Some(caller), Some(session)) = (memory.caller(), memory.upstream(server)) else {
            return;
        };
        let Some(place) = caller.portal.server(server) else {
            return;
        };
        let Ok(permit) = decide(&caller.admission, &caller.portal, place, Ask::Read) else {
            return;
        };
        let mut request = legacy_stream(&place.server, &session, last_event_id.as_deref());
        request.timeout_ms = LISTEN_MS_MAX;
        match ports.send(&permit, &place.server, request).await {
            Ok(reply) if reply.status == 200 && reply.kind == BodyKind::Events => {
                if let Some(listening) = listening.take() {
                    let _ = listening.send(());
                }
                let began_ms = now_ms();
                let read = pass_on(ports, memory, server, reply.body, &mut last_event_id).await;
                if read.is_err() {
                    return;
                }
                if now_ms().saturating_sub(began_ms) >= FEED_STEADY_MS {
                    attempts = 0;
                }
            }
            Ok(reply) if reply.status < 500 => return,
            Ok(_) | Err(_) => {}
        }
        ports.sleep_ms(PUMP_PAUSE_MS).await;
    }
}

/// Passes on what comes on a stream, to its end. An error where it cannot be read.
async fn pass_on(
    ports: &EdgePorts,
    memory: &SessionMemory,
    server: &str,
    mut body: EdgeBody,
    last_event_id: &mut Option<String>,
) -> Result<(), StreamFault> {
    let mut reader = EventReader::new(UPSTREAM_EVENT_BYTES_MAX);
    while let Some(Ok(chunk)) = body.chunk().await {
        reader.push(&chunk)?;
        while let Some(event) = reader.next_event() {
            *last_event_id = event.id.or(last_event_id.take());
            if event.data.is_empty() {
                continue;
            }
            let message = event.data.as_bytes();
            if memory.is_bridge() {
                hold::from_server(ports, server, message).await;
            } else if let Some(message) = session::from_server(ports, server, message).await {
                let text = String::from_utf8_lossy(&message);
                memory.streams.send_anywhere(&memory.rows, &text);
            }
        }
    }
    Ok(())
}
