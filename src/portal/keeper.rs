//! A row that must not be lost while it is on its way to the ledger.

use super::ports::AuditSink;

/// Queues a row that was not stored for certain, also where nobody waits for that any more. The ledger keeps one row of
/// an id.
pub(super) struct Keeper<'p, P: AuditSink> {
    ports: &'p P,
    event: Option<crate::audit::Event>,
}

impl<'p, P: AuditSink> Keeper<'p, P> {
    pub(super) fn new(ports: &'p P, event: crate::audit::Event) -> Self {
        let event = Some(event);
        Self { ports, event }
    }

    pub(super) fn let_go(mut self) {
        self.event = None;
    }
}

impl<P: AuditSink> Drop for Keeper<'_, P> {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.ports.queue(event);
        }
    }
}
