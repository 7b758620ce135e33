//! The pipeline: every message enters here, in both directions, and there is no second way to an upstream.
//!
//!  1. edge: host and path pick the portal and the handler; bodies are bounded before they are read
//!  2. identity: a verified principal, and the access rule that lets them in
//!  3. mcp: a borrowed, checked message; the body is the authority, headers must agree with it
//!  4. catalog: the name becomes (server, tool); unknown and forbidden are answered alike
//!  5. policy: a permit, or a denial
//!  6. budget: reserve
//!  7. inspection of what goes out
//!  8. upstream, with that server's own credential
//!  9. inspection of what comes back; streamed through untouched where nothing applies
//! 10. budget: settle; audit: one event, also for every refusal; reply

pub mod call;
pub mod caller;
pub mod discover;
mod feed;
mod feed_session;
mod find;
pub mod finish;
pub mod finisher;
pub mod handle;
pub mod hold;
pub mod inspect;
mod keeper;
pub mod kept;
mod line;
pub mod list;
pub mod listen;
pub mod ports;
mod pushes;
pub mod questions;
pub mod record;
mod relay;
pub mod reply;
pub mod rounds;
pub mod send;
pub mod session;
pub mod state;
pub mod stream;
pub mod subscriptions;
mod task_pushes;
pub mod tasks;
pub mod tools;
pub mod watch;

pub use caller::Caller;
pub use handle::handle;
pub use ports::Ports;
pub use reply::{Outgoing, Reply, ReplyBody};
