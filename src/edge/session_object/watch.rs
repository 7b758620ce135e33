//! What an object does while its session's client listens.

use std::rc::Rc;

use super::SessionObject;
use crate::edge::ports::{EdgePorts, now_ms};
use crate::edge::session_streams::STANDALONE;
use crate::limits::KEEP_ALIVE_MS;
use crate::portal::Caller;
use crate::portal::ports::{Background as _, Clock as _};
use crate::portal::watch::{Watch, change_method, still_admitted};

impl SessionObject {
    /// Tells it which listings changed, and ends its streams when it may not be here any more.
    pub(super) fn watch(&self, ports: &EdgePorts, caller: Rc<Caller>) {
        if self.is_watching.replace(true) {
            return;
        }
        let (task_ports, memory, is_watching) =
            (ports.clone(), self.memory.clone(), self.is_watching.clone());
        ports.spawn(Box::pin(async move {
            let mut caller = caller;
            let off = caller.toggled_off(&task_ports).await;
            let mut watch = Watch::begin(&task_ports, &caller, &off).await;
            let mut spoke_ms = now_ms();
            loop {
                task_ports.sleep_ms(watch.pause_ms(now_ms())).await;
                let now = now_ms();
                if !memory.streams.is_connected(STANDALONE) {
                    break;
                }
                if let Some(still) = still_admitted(&task_ports, &caller, now).await {
                    caller = still;
                    memory.stop_listening(&caller);
                } else {
                    memory.streams.end_all();
                    break;
                }
                let off = caller.toggled_off(&task_ports).await;
                for listing in watch.changed(&task_ports, &caller, &off).await {
                    let method = change_method(listing);
                    let message = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"}}");
                    memory.streams.send(&memory.rows, STANDALONE, &message);
                    spoke_ms = now;
                }
                if now.saturating_sub(spoke_ms) >= KEEP_ALIVE_MS {
                    spoke_ms = now;
                    memory.streams.keep_alive(STANDALONE);
                }
            }
            is_watching.set(false);
        }));
    }
}
