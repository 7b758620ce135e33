//! Cloudflare Workers: the only module that names the platform. It carries, stores and sends; it decides nothing.

mod admin;
mod audit_object;
mod audit_queue;
mod endpoint;
mod grant_object;
mod hand_over;
mod isolate;
mod keys;
mod pages;
mod ports;
mod reply;
mod router;
mod session_object;
mod session_ports;
mod session_pump;
mod session_rows;
mod session_streams;
mod session_subscriptions;
mod store;
mod sync;
mod turn;
mod upstream;
mod urls;
mod web;

use wasm_bindgen::prelude::*;
use worker::{Context, Env, ScheduleContext, ScheduledEvent, event};

/// Once for each isolate: a panic says where, in the log.
#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
    turn::begin();
}

/// Every request: a response, or the promise of one. What `#[event(fetch)]` makes would be a promise in any case, and
/// tasks and closures for each thing a request waits for.
#[wasm_bindgen]
#[must_use]
pub fn fetch(request: web_sys::Request, env: Env, context: worker::worker_sys::Context) -> JsValue {
    turn::start(Box::pin(router::route(request, env, Context::new(context))))
}

/// Every ten minutes: servers' listings are read again before somebody waits for them.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, context: ScheduleContext) {
    sync::refresh_all(env, context).await;
}
