//! What an object keeps of calls, and how it begins anew.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::stream::LocalBoxStream;
use portcullis::error::PortalError;
use portcullis::limits::INPUT_WAIT_MS;
use portcullis::portal::kept::Kept;
use portcullis::portal::ports::{Keeping, Parked};
use portcullis::portal::{Caller, Outgoing, rounds};

use super::world::World;

/// What an object keeps: rows, and the memory that is lost when it begins anew.
#[derive(Default)]
pub struct Keeper {
    pub kept: RefCell<Rc<Kept>>,
    pub calls: RefCell<BTreeMap<String, KeptCall>>,
    /// Set where the object does modern clients' calls: what they declared.
    pub bridge: RefCell<Option<String>>,
    /// Calls that were handed over: the object's name and the body.
    pub handed: RefCell<Vec<(String, Vec<u8>)>>,
    /// Streams of calls that were gone on with.
    pub revived: RefCell<Vec<LocalBoxStream<'static, Outgoing>>>,
    /// Nothing can be stored.
    pub is_broken: Cell<bool>,
}

/// A call's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCall {
    pub text: String,
    pub last_event_id: Option<String>,
    pub expires_at_ms: u64,
}

pub fn is_from_server(parked: &Parked, upstream_id: &str) -> bool {
    matches!(parked, Parked::Server { id, .. } if id == upstream_id)
}

impl World {
    /// Makes it an object for the calls of modern clients that declare this.
    pub fn as_bridge(&self, capabilities: &str) {
        *self.keeper.bridge.borrow_mut() = Some(capabilities.to_owned());
    }

    /// The object begins anew: rows stay, memory and open streams are gone.
    pub fn begin_anew(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
        if let Some(session) = &mut *self.session.borrow_mut() {
            session.in_flight.clear();
        }
        let lost = std::mem::take(&mut *self.keeper.kept.borrow_mut());
        lost.clear();
    }
}

impl Keeping for World {
    fn kept(&self) -> Option<Rc<Kept>> {
        let is_object = self.is_holding() || self.session.borrow().is_some();
        is_object.then(|| self.keeper.kept.borrow().clone())
    }

    fn is_holding(&self) -> bool {
        self.keeper.bridge.borrow().is_some()
    }

    fn object_name(&self) -> String {
        "bridge:fake".to_owned()
    }

    fn keep_call(&self, call: &str, text: &str, expires_at_ms: u64) -> bool {
        if self.keeper.is_broken.get() {
            return false;
        }
        self.step("kept".to_owned());
        let mut calls = self.keeper.calls.borrow_mut();
        let before = calls.get(call);
        let row = KeptCall {
            text: text.to_owned(),
            last_event_id: before.and_then(|row| row.last_event_id.clone()),
            expires_at_ms,
        };
        calls.insert(call.to_owned(), row);
        true
    }

    fn note_event_id(&self, call: &str, last_event_id: &str) {
        if let Some(row) = self.keeper.calls.borrow_mut().get_mut(call) {
            row.last_event_id = Some(last_event_id.to_owned());
        }
    }

    fn kept_call(&self, call: &str) -> Option<(String, Option<String>)> {
        let calls = self.keeper.calls.borrow();
        let row = calls.get(call)?;
        Some((row.text.clone(), row.last_event_id.clone()))
    }

    fn drop_call(&self, call: &str) {
        self.keeper.calls.borrow_mut().remove(call);
    }

    async fn revive(&self, call: &str) {
        if let Some(events) = rounds::revive(self, call).await {
            self.keeper.revived.borrow_mut().push(events);
        }
    }

    fn input_wait_ms(&self) -> u64 {
        INPUT_WAIT_MS
    }

    async fn hand_over(
        &self,
        _caller: &Caller,
        object: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, PortalError> {
        let mut handed = self.keeper.handed.borrow_mut();
        handed.push((object.to_owned(), body.to_vec()));
        Ok(br#""handed over""#.to_vec())
    }
}
