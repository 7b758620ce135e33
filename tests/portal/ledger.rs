//! An audit trail that can be away, or lose its answer after it stored what it was given.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use portcullis::audit::{Event, Kind, Status};

/// How one append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing is stored.
    Before,
    /// Stored, and the answer is lost.
    AfterPersist,
}

#[derive(Default)]
pub struct Ledger {
    pub durable: RefCell<Vec<Event>>,
    pub queued: RefCell<Vec<Event>>,
    /// What happens to the appends to come; beyond them all is well.
    pub breaks: RefCell<VecDeque<Option<Break>>>,
    /// How long an append takes.
    pub slow_ms: Cell<u64>,
    pub is_full: Cell<bool>,
}

impl Ledger {
    pub fn break_next(&self, breaks: &[Option<Break>]) {
        self.breaks.borrow_mut().extend(breaks);
    }

    /// Every row once, the durable ones first.
    pub fn rows(&self) -> Vec<Event> {
        let mut rows: Vec<Event> = self.durable.borrow().clone();
        for event in self.queued.borrow().iter() {
            if !rows.iter().any(|row| row.id == event.id) {
                rows.push(event.clone());
            }
        }
        rows
    }

    /// `kind status reason method server/target` of every row.
    pub fn lines(&self) -> Vec<String> {
        self.rows().iter().map(line).collect()
    }

    pub fn clear(&self) {
        self.durable.borrow_mut().clear();
        self.queued.borrow_mut().clear();
    }
}

pub fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Intent => "intent",
        Kind::Outcome => "outcome",
        Kind::Refusal => "refusal",
        Kind::Change => "change",
    }
}

pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Ok => "ok",
        Status::ToolError => "tool_error",
        Status::RpcError => "rpc_error",
        Status::InputRequired => "input_required",
        Status::UpstreamFailed => "upstream_failed",
        Status::Cancelled => "cancelled",
        Status::Interrupted => "interrupted",
        Status::Refused => "refused",
    }
}

fn line(event: &Event) -> String {
    format!(
        "{} {} {}",
        word(event.kind),
        status_word(event.status),
        event.reason.as_deref().unwrap_or("-")
    )
}
