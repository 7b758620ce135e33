//! A stream of a server that is spoken into while it is read.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures::future::{Either, select};
use portcullis::error::UpstreamFault;
use serde_json::Value;

use super::time::Timers;
use super::upstreams::{Canned, Piece, about};

/// Both ends of it.
#[derive(Debug, Clone, Default)]
pub struct Live(Rc<State>);

#[derive(Debug, Default)]
struct State {
    said: RefCell<VecDeque<String>>,
    is_over: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    request: RefCell<Value>,
}

impl Live {
    /// The reply to a request, in which `"$ID"` and `"$TOKEN"` are the request's.
    pub fn opened(&self, request: &Value) -> Canned {
        *self.0.request.borrow_mut() = request.clone();
        Canned::events(vec![Piece::Live(self.clone())])
    }

    pub fn say(&self, message: &Value) {
        self.say_text(&format!("data: {message}\n\n"));
    }

    /// Under an event id.
    pub fn say_as(&self, event_id: &str, message: &Value) {
        self.say_text(&format!("id: {event_id}\ndata: {message}\n\n"));
    }

    fn say_text(&self, text: &str) {
        self.0.said.borrow_mut().push_back(text.to_owned());
        self.wake();
    }

    /// The stream breaks off.
    pub fn end(&self) {
        self.0.is_over.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(reader) = self.0.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// How much was said that nobody has read.
    pub fn unread(&self) -> usize {
        self.0.said.borrow().len()
    }

    pub async fn chunk(
        &self,
        timers: &Rc<Timers>,
        timeout_ms: u64,
    ) -> Option<Result<Vec<u8>, UpstreamFault>> {
        let next = poll_fn(|context| {
            if let Some(text) = self.0.said.borrow_mut().pop_front() {
                let request = self.0.request.borrow();
                return Poll::Ready(Some(about(text.as_bytes(), &request)));
            }
            if self.0.is_over.get() {
                return Poll::Ready(None);
            }
            *self.0.reader.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        });
        match select(next, std::pin::pin!(timers.sleep(timeout_ms))).await {
            Either::Left((bytes, _)) => bytes.map(Ok),
            Either::Right(_) => Some(Err(UpstreamFault::TimedOut(timeout_ms))),
        }
    }
}
