//! What the worker tells a session's object with a request.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use worker::Request;

use crate::identity::Principal;

/// The header in which the worker tells the object who calls. Nobody else can reach the object.
pub(super) const HAND_OVER: &str = "portcullis-hand-over";

/// Who calls, as the worker found out. What they may do is decided again here: permits are never serialised.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct HandOver {
    pub session_id: String,
    pub portal: String,
    pub principal: Principal,
    pub agent: Option<String>,
    pub request_id: String,
    pub received_ms: u64,
    pub last_event_id: Option<String>,
}

impl HandOver {
    /// As a header's value: JSON with everything beyond ASCII escaped, since header values are bytes.
    pub(super) fn to_header(&self) -> String {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut out = String::with_capacity(json.len());
        for char in json.chars() {
            if char.is_ascii() {
                out.push(char);
            } else {
                let mut units = [0_u16; 2];
                for unit in char.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
        out
    }

    /// Reads it from a request to the object.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let text = request.headers().get(HAND_OVER).ok()??;
        serde_json::from_str(&text).ok()
    }
}
