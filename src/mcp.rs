//! What is spoken: JSON-RPC over Streamable HTTP in every revision of the Model Context Protocol.

pub mod event_stream;
pub mod header_value;
pub mod headers;
pub mod json;
pub mod log_level;
pub mod message;
pub mod method;
pub mod reply;
pub mod version;

pub use message::{Message, Notification, Params, Request, Response, Text};
pub use method::Method;
pub use version::{Era, Revision};
