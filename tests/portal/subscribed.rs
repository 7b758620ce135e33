//! What a session keeps of its client's subscriptions, and what the client is told outside of its requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use portcullis::portal::subscriptions::{Feeds, Subscription, Subscriptions};
use serde_json::Value;

use super::world::World;

pub struct Subscribed {
    /// The rows.
    pub rows: RefCell<BTreeSet<Subscription>>,
    /// Memory, lost with an eviction.
    pub feeds: RefCell<Rc<Feeds>>,
    /// What the client was sent, and when.
    pub told: RefCell<Vec<(u64, Value)>>,
    /// The client has a stream open.
    pub is_listening: Cell<bool>,
    /// Rows cannot be written.
    pub is_broken: Cell<bool>,
}

impl Default for Subscribed {
    fn default() -> Self {
        Self {
            rows: RefCell::default(),
            feeds: RefCell::default(),
            told: RefCell::default(),
            is_listening: Cell::new(true),
            is_broken: Cell::default(),
        }
    }
}

impl Subscribed {
    /// What was told since the last time.
    pub fn told(&self) -> Vec<Value> {
        let told = std::mem::take(&mut *self.told.borrow_mut());
        told.into_iter().map(|(_, message)| message).collect()
    }

    /// The session's memory is lost; its rows are not.
    pub fn evict(&self) {
        self.feeds.borrow().release();
        *self.feeds.borrow_mut() = Rc::default();
    }
}

impl Subscriptions for World {
    fn feeds(&self) -> Option<Rc<Feeds>> {
        self.session.borrow().as_ref()?;
        Some(self.subscribed.feeds.borrow().clone())
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        self.subscribed.rows.borrow().iter().cloned().collect()
    }

    fn keep_subscription(&self, server: &str, uri: &str) -> bool {
        let row = (server.to_owned(), uri.to_owned());
        !self.subscribed.is_broken.get() && {
            self.subscribed.rows.borrow_mut().insert(row);
            true
        }
    }

    fn drop_subscription(&self, server: &str, uri: &str) {
        let row = (server.to_owned(), uri.to_owned());
        self.subscribed.rows.borrow_mut().remove(&row);
    }

    fn tell_client(&self, message: &[u8]) {
        let message = serde_json::from_slice(message).expect("JSON");
        let told = &self.subscribed.told;
        told.borrow_mut().push((self.timers.now_ms(), message));
    }

    fn is_client_listening(&self) -> bool {
        self.subscribed.is_listening.get()
    }
}
