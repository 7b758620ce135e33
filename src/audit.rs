//! What happened, as one row each: the shape of the audit trail.
//!
//! A write leaves two rows, its intent before the upstream call and its outcome before the reply, and both are durable
//! by then. Anything else leaves one row; a refusal is a row like any other. Rows hold names and numbers, never
//! arguments, results or credentials.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use crate::identity::Principal;
use crate::mcp::Era;

/// Which row of a request this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A write is about to leave.
    Intent,
    /// A request was answered.
    Outcome,
    /// A request was refused before it reached an upstream.
    Refusal,
    /// An administrator changed something.
    Change,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Not yet: the row is an intent.
    Pending,
    /// The upstream answered with a result.
    Ok,
    /// The upstream answered with a result that says `isError`.
    ToolError,
    /// The upstream answered with a JSON-RPC error.
    RpcError,
    /// The upstream asks for the caller's input.
    InputRequired,
    /// The upstream failed; `reason` says how.
    UpstreamFailed,
    /// The caller went away before the answer.
    Cancelled,
    /// The portal lost the call while it was under way; what became of it is the server's to say.
    Interrupted,
    /// The portal refused; `reason` says why.
    Refused,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Sorts by time; unique.
    pub id: String,
    /// The request, as the caller was told it; several rows may share it.
    pub request_id: String,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// Which row.
    pub kind: Kind,
    /// How it ended.
    pub status: Status,
    /// The label of a refusal or failure; `unavailable:` lists for listings; otherwise absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The portal.
    pub portal: String,
    /// The principal's subject; `anonymous` where nobody signed in.
    pub principal: String,
    /// The principal's e-mail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The OAuth client or self-given name of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The MCP method.
    pub method: String,
    /// The server that did the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The tool, prompt or resource at that server, or the name asked for where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The client's era.
    pub era: String,
    /// Whether it could change something.
    pub is_write: bool,
    /// From receipt to the end of the answer.
    pub duration_ms: u64,
    /// Size of the client's body.
    pub request_bytes: u64,
    /// Size of the answer as far as it was read.
    pub reply_bytes: u64,
    /// The configuration revision that decided.
    pub revision: u64,
    /// Bytes of text that went to the server, where the portal inspects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspected_out_bytes: Option<u64>,
    /// Bytes of text that came back, where the portal inspects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspected_in_bytes: Option<u64>,
}

/// A request that ended before it was known what it asks for.
#[derive(Debug, Clone, Copy)]
pub struct EarlyEnd<'a> {
    /// The request, as the caller is told it.
    pub request_id: &'a str,
    /// Unix milliseconds of its receipt.
    pub received_ms: u64,
    /// The portal, where one was found.
    pub portal: &'a str,
    /// Who, where that is known.
    pub principal: Option<&'a Principal>,
    /// How the client speaks, as far as could be told.
    pub era: Era,
    /// Size of its body.
    pub request_bytes: u64,
}

impl EarlyEnd<'_> {
    /// The row of its refusal.
    #[must_use]
    pub fn refused(&self, reason: String, now_ms: u64, random: [u8; 10]) -> Event {
        let subject = self
            .principal
            .map_or("unknown", |principal| &principal.subject);
        Event {
            id: next_event_id(now_ms, random),
            request_id: self.request_id.to_owned(),
            at_ms: now_ms,
            kind: Kind::Refusal,
            status: Status::Refused,
            reason: Some(reason),
            rule: None,
            portal: self.portal.to_owned(),
            principal: subject.to_owned(),
            email: self.principal.and_then(|principal| principal.email.clone()),
            agent: self
                .principal
                .and_then(|principal| principal.client_id.clone()),
            method: String::new(),
            server: None,
            target: None,
            era: self.era.as_str().to_owned(),
            is_write: false,
            duration_ms: now_ms.saturating_sub(self.received_ms),
            request_bytes: self.request_bytes,
            reply_bytes: 0,
            revision: 0,
            inspected_out_bytes: None,
            inspected_in_bytes: None,
        }
    }
}

/// Makes an id that sorts by time: 12 hexadecimal digits of milliseconds, then 20 random ones.
#[must_use]
pub fn event_id(now_ms: u64, random: [u8; 10]) -> String {
    let mut id = String::with_capacity(32);
    let time = now_ms.to_be_bytes();
    crate::hex::push(&mut id, time.get(2..).unwrap_or_default());
    crate::hex::push(&mut id, &random);
    id
}

thread_local! {
    /// The last millisecond an id was made in, and how many were made in it.
    static LAST: Cell<(u64, u16)> = const { Cell::new((0, 0)) };
}

/// Makes the id of a row: rows of one millisecond sort in the order they were made here.
#[must_use]
pub fn next_event_id(now_ms: u64, mut random: [u8; 10]) -> String {
    let count = LAST.with(|last| {
        let (at_ms, count) = last.get();
        let count = if at_ms == now_ms {
            count.saturating_add(1)
        } else {
            0
        };
        last.set((now_ms, count));
        count
    });
    for (byte, counted) in random.iter_mut().zip(count.to_be_bytes()) {
        *byte = counted;
    }
    event_id(now_ms, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_millisecond_sort_as_they_were_made() {
        let ids: Vec<String> = (0..600_u16)
            .map(|index| next_event_id(5_000, [u8::try_from(index % 256).unwrap(); 10]))
            .collect();
        assert!(ids.is_sorted());
        assert!(next_event_id(5_001, [0; 10]) > ids[599]);
    }

    #[test]
    fn ids_sort_by_time_and_have_one_length() {
        let early = event_id(1_000, [255; 10]);
        let late = event_id(1_001, [0; 10]);
        assert!(early < late);
        assert_eq!((early.len(), late.len()), (32, 32));
    }
}
