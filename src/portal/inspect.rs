//! Steps 7 and 9: where what goes to a server and what comes back is looked at, message by message, in both directions
//! and on every path.
//!
//! Today a portal can only have it logged how much text a call moved each way; scanning profiles attach here. A portal
//! without inspection lets bytes pass unread.

use crate::limits::REPLY_DEPTH_MAX;
use crate::mcp::json::{Kind, Malformed, Reader};

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    /// From the client to a server.
    Server,
    /// From a server to the client.
    Client,
}

/// The text a call moved: every string at every depth, keys aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of text to the server.
    pub to_server_bytes: u64,
    /// Bytes of text to the client.
    pub to_client_bytes: u64,
}

impl Seen {
    /// Looks at one message. One that is no JSON has no text to look at, and is refused elsewhere.
    pub fn look(&mut self, toward: Toward, message: &[u8]) {
        let bytes = Reader::trusting(message, REPLY_DEPTH_MAX).map_or(0, |mut reader| {
            let mut bytes = 0_u64;
            let _ = text_bytes(&mut reader, &mut bytes);
            bytes
        });
        let total = match toward {
            Toward::Server => &mut self.to_server_bytes,
            Toward::Client => &mut self.to_client_bytes,
        };
        *total = total.saturating_add(bytes);
    }

    /// Adds what another part of the same call moved.
    pub fn add(&mut self, other: Self) {
        self.to_server_bytes = self.to_server_bytes.saturating_add(other.to_server_bytes);
        self.to_client_bytes = self.to_client_bytes.saturating_add(other.to_client_bytes);
    }
}

/// Adds up the strings of one value. The reader bounds the depth.
fn text_bytes(reader: &mut Reader<'_>, bytes: &mut u64) -> Result<(), Malformed> {
    match reader.kind()? {
        Kind::String => {
            *bytes = bytes.saturating_add(reader.string()?.len() as u64);
            Ok(())
        }
        Kind::Object => reader.object(|reader, _| text_bytes(reader, bytes)),
        Kind::Array => reader.array(|reader, _| text_bytes(reader, bytes)),
        Kind::Number | Kind::Bool | Kind::Null => reader.skip(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_at_every_depth_and_counted_by_direction() {
        let mut seen = Seen::default();
        seen.look(
            Toward::Server,
            br#"{"a":"12","b":[{"c":"345"},6,null,"\u00e4"]}"#,
        );
        seen.look(Toward::Client, br#""7""#);
        seen.look(Toward::Client, b"no JSON");
        let expected = Seen {
            to_server_bytes: 7,
            to_client_bytes: 1,
        };
        assert_eq!(seen, expected);
    }
}
