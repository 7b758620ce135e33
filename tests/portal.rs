//! The pipeline over fakes: what reaches upstreams, what is recorded, and what the client gets.
//!
//! Time is virtual and advances only where everything waits; every fake can break. Nothing here touches the network.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    clippy::option_option,
    clippy::single_match_else,
    reason = "tests"
)]

#[path = "portal/asking.rs"]
mod asking;
#[path = "portal/bridge.rs"]
mod bridge;
#[path = "portal/client_sessions.rs"]
mod client_sessions;
#[path = "portal/keeping.rs"]
mod keeping;
#[path = "portal/ledger.rs"]
mod ledger;
#[path = "portal/line_server.rs"]
mod line_server;
#[path = "portal/live.rs"]
mod live;
#[path = "portal/mcp_server.rs"]
mod mcp_server;
#[path = "portal/scene.rs"]
mod scene;
#[path = "portal/subscribed.rs"]
mod subscribed;
#[path = "portal/time.rs"]
mod time;
#[path = "portal/upstreams.rs"]
mod upstreams;
#[path = "portal/world.rs"]
mod world;

#[path = "portal/deadlines.rs"]
mod deadlines;
#[path = "portal/directions.rs"]
mod directions;
#[path = "portal/eras.rs"]
mod eras;
#[path = "portal/hold.rs"]
mod hold;
#[path = "portal/hold_anew.rs"]
mod hold_anew;
#[path = "portal/hold_beside.rs"]
mod hold_beside;
#[path = "portal/hold_ends.rs"]
mod hold_ends;
#[path = "portal/hold_hand_over.rs"]
mod hold_hand_over;
#[path = "portal/hold_ledger.rs"]
mod hold_ledger;
#[path = "portal/line.rs"]
mod line;
#[path = "portal/line_faults.rs"]
mod line_faults;
#[path = "portal/line_probe.rs"]
mod line_probe;
#[path = "portal/listen.rs"]
mod listen;
#[path = "portal/listen_ends.rs"]
mod listen_ends;
#[path = "portal/listings.rs"]
mod listings;
#[path = "portal/quiet.rs"]
mod quiet;
#[path = "portal/reverse.rs"]
mod reverse;
#[path = "portal/rounds.rs"]
mod rounds;
#[path = "portal/rounds_anew.rs"]
mod rounds_anew;
#[path = "portal/rounds_ends.rs"]
mod rounds_ends;
#[path = "portal/seals.rs"]
mod seals;
#[path = "portal/sessions.rs"]
mod sessions;
#[path = "portal/shared.rs"]
mod shared;
#[path = "portal/streams.rs"]
mod streams;
#[path = "portal/streams_cut.rs"]
mod streams_cut;
#[path = "portal/subscriptions.rs"]
mod subscriptions;
#[path = "portal/subscriptions_legacy.rs"]
mod subscriptions_legacy;
#[path = "portal/sync.rs"]
mod sync;
#[path = "portal/sync_ids.rs"]
mod sync_ids;
#[path = "portal/sync_pages.rs"]
mod sync_pages;
#[path = "portal/table.rs"]
mod table;
#[path = "portal/table_across.rs"]
mod table_across;
#[path = "portal/tasks.rs"]
mod tasks;
#[path = "portal/tasks_listen.rs"]
mod tasks_listen;
#[path = "portal/tasks_refused.rs"]
mod tasks_refused;
#[path = "portal/toggles.rs"]
mod toggles;
#[path = "portal/translation.rs"]
mod translation;
#[path = "portal/writes.rs"]
mod writes;
