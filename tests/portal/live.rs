//! The stream of a call that its server speaks into while it is read.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::Value;

use super::upstreams::{Canned, Feed, Piece, about};

/// The server's end of it.
#[derive(Debug, Clone, Default)]
pub struct Live(Rc<State>);

#[derive(Debug, Default)]
struct State {
    feed: Feed,
    /// What was said before there was a request to say it about.
    early: RefCell<Vec<String>>,
    request: RefCell<Option<Value>>,
}

impl Live {
    /// The reply to a request, whose id and progress token `"$ID"` and `"$TOKEN"` are.
    pub fn opened(&self, request: &Value) -> Canned {
        *self.0.request.borrow_mut() = Some(request.clone());
        for text in self.0.early.take() {
            self.say_text(text);
        }
        Canned::events(vec![Piece::Feed(self.0.feed.clone())])
    }

    pub fn say(&self, message: &Value) {
        self.say_text(format!("data: {message}\n\n"));
    }

    /// Under an event id.
    pub fn say_as(&self, event_id: &str, message: &Value) {
        self.say_text(format!("id: {event_id}\ndata: {message}\n\n"));
    }

    fn say_text(&self, text: String) {
        match &*self.0.request.borrow() {
            Some(request) => {
                let bytes = about(text.as_bytes(), request);
                self.0.feed.push(Piece::Bytes(bytes));
            }
            None => self.0.early.borrow_mut().push(text),
        }
    }

    /// The stream breaks off.
    pub fn end(&self) {
        self.0.feed.close();
    }

    /// How much was said that nobody has read.
    pub fn unread(&self) -> usize {
        self.0.feed.unread()
    }
}
