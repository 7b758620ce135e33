//! Requests as futures that JavaScript drives: entered once when a request comes and once for each thing it waited for,
//! with no promise, closure or microtask of their own. A promise costs more than most of what a request does in between.
//!
//! What waits for anything else (D1, `WebCrypto`, objects of the platform's own crates) is woken through its waker and
//! runs in a microtask, as everywhere.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures::future::LocalBoxFuture;
use wasm_bindgen::prelude::*;
use web_sys::Response;

#[wasm_bindgen(module = "/src/edge/glue.js")]
extern "C" {
    fn attach(
        settle: &Closure<dyn Fn(u32, JsValue, String, Option<Vec<u8>>) -> bool>,
        fail: &Closure<dyn Fn(u32, Option<String>)>,
        run: &Closure<dyn Fn()>,
    );

    /// Has `run` called in a microtask.
    fn later();

    /// The promise of a request's response.
    fn promise(turn: u32) -> JsValue;

    fn respond(turn: u32, response: &Response);
}

/// What JavaScript answers: a value, a few lines of text, and bytes.
pub(super) struct Settled {
    /// Whatever cannot be copied.
    pub handle: JsValue,
    /// Text.
    pub text: String,
    /// Bytes, already copied.
    pub bytes: Option<Vec<u8>>,
}

/// An answer that may not be there yet. The error is a word: what went wrong.
#[derive(Default)]
struct Slot {
    result: Option<Result<Settled, String>>,
    waker: Option<Waker>,
}

/// A request on its way.
struct Turn {
    future: LocalBoxFuture<'static, Response>,
    waker: Waker,
}

#[derive(Default)]
struct Turns {
    last: Cell<u32>,
    slots: RefCell<HashMap<u32, Slot>>,
    pending: RefCell<HashMap<u32, Turn>>,
    woken: RefCell<VecDeque<u32>>,
    /// Whoever is at it, or will be in a microtask, sees what is woken meanwhile.
    is_attended: Cell<bool>,
}

thread_local! {
    static TURNS: Turns = Turns::default();
}

/// Wakes a request.
struct Alarm(u32);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        TURNS.with(|turns| {
            turns.woken.borrow_mut().push_back(self.0);
            if !turns.is_attended.replace(true) {
                later();
            }
        });
    }
}

/// Tells JavaScript how to reach this instance: once, before anything else.
pub(super) fn begin() {
    let settle = Closure::new(|slot, handle, text, bytes| {
        put(
            slot,
            Ok(Settled {
                handle,
                text,
                bytes,
            }),
        )
    });
    let fail = Closure::new(|slot, word: Option<String>| {
        put(slot, Err(word.unwrap_or_default()));
    });
    let run = Closure::new(run);
    attach(&settle, &fail, &run);
    // They live as long as the instance.
    settle.forget();
    fail.forget();
    run.forget();
}

/// False where nobody waits for it any more.
fn put(slot: u32, result: Result<Settled, String>) -> bool {
    let waker = TURNS.with(|turns| {
        let mut slots = turns.slots.borrow_mut();
        let slot = slots.get_mut(&slot)?;
        slot.result = Some(result);
        Some(slot.waker.take())
    });
    let waker = match waker {
        Some(Some(waker)) => waker,
        slot => return slot.is_some(),
    };
    let was_attended = TURNS.with(|turns| turns.is_attended.replace(true));
    waker.wake();
    if !was_attended {
        run();
    }
    true
}

/// Runs every request that was woken.
fn run() {
    while let Some(id) = TURNS.with(|turns| turns.woken.borrow_mut().pop_front()) {
        // Taken out while it runs: a request that ended is not there any more.
        let Some(mut turn) = TURNS.with(|turns| turns.pending.borrow_mut().remove(&id)) else {
            continue;
        };
        match turn
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&turn.waker))
        {
            Poll::Ready(response) => respond(id, &response),
            Poll::Pending => TURNS.with(|turns| {
                turns.pending.borrow_mut().insert(id, turn);
            }),
        }
    }
    TURNS.with(|turns| turns.is_attended.set(false));
}

fn next_id() -> u32 {
    TURNS.with(|turns| {
        let id = turns.last.get().wrapping_add(1);
        turns.last.set(id);
        id
    })
}

/// Starts a request: its response, or the promise of one.
pub(super) fn start(future: LocalBoxFuture<'static, Response>) -> JsValue {
    let id = next_id();
    let mut turn = Turn {
        future,
        waker: Waker::from(Arc::new(Alarm(id))),
    };
    let polled = turn
        .future
        .as_mut()
        .poll(&mut Context::from_waker(&turn.waker));
    match polled {
        Poll::Ready(response) => response.into(),
        Poll::Pending => {
            TURNS.with(|turns| turns.pending.borrow_mut().insert(id, turn));
            promise(id)
        }
    }
}

/// Waits for what JavaScript was asked to do. Dropping it forgets the answer.
pub(super) struct Waiting {
    slot: u32,
}

impl Waiting {
    /// Asks for something; `ask` is given the number under which the answer comes.
    pub(super) fn new(ask: impl FnOnce(u32)) -> Self {
        let slot = next_id();
        TURNS.with(|turns| turns.slots.borrow_mut().insert(slot, Slot::default()));
        let waiting = Self { slot };
        ask(slot);
        waiting
    }
}

impl Waiting {
    /// The number under which the answer comes.
    pub(super) fn slot(&self) -> u32 {
        self.slot
    }
}

impl Future for Waiting {
    type Output = Result<Settled, String>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        TURNS.with(|turns| {
            let mut slots = turns.slots.borrow_mut();
            let Some(slot) = slots.get_mut(&self.slot) else {
                return Poll::Pending;
            };
            if let Some(result) = slot.result.take() {
                return Poll::Ready(result);
            }
            slot.waker = Some(context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        TURNS.with(|turns| turns.slots.borrow_mut().remove(&self.slot));
    }
}
