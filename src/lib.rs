//! Portcullis: the portal between a company's AI agents and every MCP server they may touch.
//!
//! The core (everything but `edge`) knows nothing of the platform: it is plain Rust behind the tiny traits of
//! [`portal::ports`], and the native build proves it. `edge` is Cloudflare Workers, and decides nothing.

pub mod audit;
pub mod catalog;
pub mod config;
pub mod console;
pub mod error;
pub mod hex;
pub mod identity;
pub mod limits;
pub mod mcp;
pub mod policy;
pub mod portal;
pub mod seal;
pub mod upstream;

#[cfg(target_arch = "wasm32")]
pub mod edge;
