//! What the servers of a portal offer, from stored snapshots.

pub mod listing;
pub mod look;
pub mod param_headers;
mod probe;
pub mod resolve;
pub mod snapshot;
pub mod sync;
pub mod template;

pub use snapshot::{Facts, Item, Snapshot, SnapshotKey};
