//! Replies: building the portal's own, and reading just enough of an upstream's.

use super::json::{self, Kind, Malformed, Raw, Reader};
use crate::error::Wire;
use crate::limits::REPLY_DEPTH_MAX;

/// Writes a successful answer around a result that is already JSON.
#[must_use]
pub fn result(id: &str, result_json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(
        result_json
            .len()
            .saturating_add(id.len())
            .saturating_add(40),
    );
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result_json);
    out.push(b'}');
    out
}

/// Writes an error answer; `id` is JSON text, `null` where the request's id is not known.
#[must_use]
pub fn error(id: &str, wire: &Wire, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(format!(",\"error\":{{\"code\":{},\"message\":", wire.code).as_bytes());
    json::escape_into(&mut out, &wire.message);
    out.extend_from_slice(b",\"data\":{");
    if let Some(data) = &wire.data {
        out.extend_from_slice(data.as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(b"\"requestId\":");
    json::escape_into(&mut out, request_id);
    out.extend_from_slice(b"}}}");
    out
}

/// Text that is ours, as a tool result.
#[must_use]
pub fn text_result(text: &str, structured: Option<&str>, is_error: bool, modern: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(128));
    out.extend_from_slice(b"{\"content\":[{\"type\":\"text\",\"text\":");
    json::escape_into(&mut out, text);
    out.extend_from_slice(b"}]");
    if let Some(structured) = structured {
        out.extend_from_slice(b",\"structuredContent\":");
        out.extend_from_slice(structured.as_bytes());
    }
    if is_error {
        out.extend_from_slice(b",\"isError\":true");
    }
    if modern {
        out.extend_from_slice(b",\"resultType\":\"complete\"");
    }
    out.push(b'}');
    out
}

/// What kind of message an upstream sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The answer to a request of ours.
    Answer,
    /// A request to the client (legacy era only).
    Request,
    /// A notification.
    Notification,
}

/// What the portal reads of an upstream's message. Everything is a place in the message, nothing is copied.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing a message holds or not"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Glance<'a> {
    /// `jsonrpc` is `"2.0"`.
    pub is_rpc: bool,
    /// `id`
    pub id: Option<Raw<'a>>,
    /// `method`, still quoted.
    pub method: Option<Raw<'a>>,
    /// The whole `params`.
    pub params: Option<Raw<'a>>,
    /// The whole `result`.
    pub result: Option<Raw<'a>>,
    /// The whole `error`.
    pub error: Option<Raw<'a>>,
    /// `result.isError` is true.
    pub is_error: bool,
    /// `result.resultType`, still quoted.
    pub result_type: Option<Raw<'a>>,
    /// `result.requestState`, still quoted.
    pub request_state: Option<Raw<'a>>,
    /// `result.taskId`, still quoted.
    pub task_id: Option<Raw<'a>>,
    /// `result.inputRequests`.
    pub input_requests: Option<Raw<'a>>,
    /// `result.ttlMs` is there.
    pub has_ttl: bool,
    /// `result.cacheScope` is there.
    pub has_cache_scope: bool,
}

impl<'a> Glance<'a> {
    /// Reads an upstream's message in one pass.
    ///
    /// # Errors
    /// [`Malformed`] where it is not one JSON object within [`REPLY_DEPTH_MAX`].
    pub fn at(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::trusting(message, REPLY_DEPTH_MAX)?;
        let mut glance = Self::default();
        reader.object(|reader, key| {
            match &*key {
                "jsonrpc" => glance.is_rpc = reader.raw()?.text == "\"2.0\"",
                "id" => glance.id = Some(reader.raw()?),
                "method" => glance.method = Some(reader.raw()?),
                "params" => glance.params = Some(reader.raw()?),
                "error" => glance.error = Some(reader.raw()?),
                "result" => {
                    if reader.kind()? != Kind::Object {
                        glance.result = Some(reader.raw()?);
                        return Ok(());
                    }
                    let start = reader.offset();
                    reader.object(|reader, key| {
                        match &*key {
                            "isError" => glance.is_error = reader.raw()?.text == "true",
                            "resultType" => glance.result_type = Some(reader.raw()?),
                            "requestState" => glance.request_state = Some(reader.raw()?),
                            "taskId" => glance.task_id = Some(reader.raw()?),
                            "inputRequests" => glance.input_requests = Some(reader.raw()?),
                            "ttlMs" => {
                                glance.has_ttl = true;
                                reader.skip()?;
                            }
                            "cacheScope" => {
                                glance.has_cache_scope = true;
                                reader.skip()?;
                            }
                            _ => reader.skip()?,
                        }
                        Ok(())
                    })?;
                    glance.result = reader.since(start);
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        reader.finish()?;
        Ok(glance)
    }

    /// Which way the message goes, where it is a message at all: an answer is one object, a result or an error.
    #[must_use]
    pub fn direction(&self) -> Option<Direction> {
        let is_object = |raw: Raw<'_>| raw.text.starts_with('{');
        match (self.method, self.id, self.result, self.error) {
            _ if !self.is_rpc => None,
            (Some(_), Some(_), None, None) => Some(Direction::Request),
            (Some(_), None, None, None) => Some(Direction::Notification),
            (None, Some(_), Some(result), None) if is_object(result) => Some(Direction::Answer),
            (None, _, None, Some(error)) if is_object(error) => Some(Direction::Answer),
            _ => None,
        }
    }

    /// The method without its quotes, where it is spelled plainly.
    #[must_use]
    pub fn method_name(&self) -> Option<&'a str> {
        unquote(self.method?)
    }

    /// Whether the result asks for input.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.has_type("input_required")
    }

    /// Whether the result is the handle of a task that goes on (SEP-2663, "Task Creation").
    #[must_use]
    pub fn is_task(&self) -> bool {
        self.has_type("task")
    }

    /// Whether the result is of a type, however the type is spelled: what the portal took for something else would
    /// reach the client as it is.
    fn has_type(&self, name: &str) -> bool {
        self.result_type.is_some_and(|raw| {
            unquote(raw).map_or_else(
                || serde_json::from_str::<String>(raw.text).is_ok_and(|text| text == name),
                |text| text == name,
            )
        })
    }
}

/// A plainly spelled JSON string without its quotes.
#[must_use]
pub fn unquote(raw: Raw<'_>) -> Option<&str> {
    let text = raw.text.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_finds_what_decides_and_where() {
        let message = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"isError"}],"isError":true,"resultType":"complete"}}"#;
        let glance = Glance::at(message).unwrap();
        assert!(glance.is_error && !glance.wants_input());
        assert_eq!(glance.direction(), Some(Direction::Answer));
        let result = glance.result.unwrap();
        assert_eq!(&message[result.start..result.end], result.text.as_bytes());
    }

    #[test]
    fn requests_and_notifications_are_told_apart() {
        let request = Glance::at(br#"{"jsonrpc":"2.0","id":"x","method":"roots/list"}"#).unwrap();
        assert_eq!(request.direction(), Some(Direction::Request));
        assert_eq!(request.method_name(), Some("roots/list"));
        let notice =
            Glance::at(br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#)
                .unwrap();
        assert_eq!(notice.direction(), Some(Direction::Notification));
        assert_eq!(Glance::at(b"{}").unwrap().direction(), None);
    }

    #[test]
    fn errors_carry_the_request_id() {
        let wire = Wire {
            status: 200,
            code: -1,
            message: "no \"way\"".into(),
            data: Some("\"a\":1".into()),
        };
        let text = String::from_utf8(error("null", &wire, "r1")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["data"]["requestId"], "r1");
        assert_eq!(value["error"]["data"]["a"], 1);
        assert_eq!(value["error"]["message"], "no \"way\"");
    }
}
