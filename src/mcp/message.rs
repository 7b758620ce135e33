//! A client's message, borrowed from its body and checked once (JSON-RPC 2.0; MCP 2026-07-28, basic).
//!
//! The body is the authority: what is decided, recorded and forwarded is read here and nowhere else. Duplicate keys are
//! refused at every depth, because a portal and an upstream that disagree about which one counts would decide about one
//! call and make another.

mod params;

use std::borrow::Cow;

use super::json::{Kind, Malformed, Raw, Reader};
use crate::limits::{ID_BYTES_MAX, MESSAGE_DEPTH_MAX};

/// A JSON string together with the bytes that spell it, so that it can be replaced in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a> {
    /// The decoded text.
    pub value: Cow<'a, str>,
    /// Where the body spells it, quotes included.
    pub raw: Raw<'a>,
}

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Answers a request of a server.
    Response(Response<'a>),
}

/// A request: `id` is a string or an integer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The id as spelled; it goes back byte for byte.
    pub id: Raw<'a>,
    /// The method's name.
    pub method: Cow<'a, str>,
    /// What the portal reads of the parameters.
    pub params: Params<'a>,
    /// The whole body.
    pub body: &'a [u8],
}

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The method's name.
    pub method: Cow<'a, str>,
    /// What the portal reads of the parameters.
    pub params: Params<'a>,
    /// The whole body.
    pub body: &'a [u8],
}

/// An answer to a request that a server sent (legacy era only).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response<'a> {
    /// The id of the request it answers.
    pub id: Raw<'a>,
    /// Whether it carries an error instead of a result.
    pub is_error: bool,
    /// The whole body.
    pub body: &'a [u8],
}

/// The parameters the portal reads; everything else travels unread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params<'a> {
    /// The whole object.
    pub raw: Option<Raw<'a>>,
    /// `name`: a tool or prompt.
    pub name: Option<Text<'a>>,
    /// `uri`: a resource.
    pub uri: Option<Text<'a>>,
    /// `arguments`.
    pub arguments: Option<Raw<'a>>,
    /// `cursor`.
    pub cursor: Option<Text<'a>>,
    /// `_meta`.
    pub meta: Meta<'a>,
    /// `requestState` of a retry.
    pub request_state: Option<Text<'a>>,
    /// `inputResponses` of a retry.
    pub input_responses: Option<Raw<'a>>,
    /// `ref` of a completion.
    pub reference: Option<Reference<'a>>,
    /// `argument` of a completion.
    pub argument: Option<Raw<'a>>,
    /// `context` of a completion.
    pub context: Option<Raw<'a>>,
    /// `protocolVersion` of an `initialize`.
    pub protocol_version: Option<Cow<'a, str>>,
    /// `capabilities` of an `initialize`.
    pub capabilities: Option<Raw<'a>>,
    /// `clientInfo` of an `initialize`.
    pub client_info: Option<Raw<'a>>,
    /// `level` of a `logging/setLevel`.
    pub level: Option<Text<'a>>,
    /// `taskId` of the methods about a task.
    pub task_id: Option<Text<'a>>,
    /// `notifications` of a `subscriptions/listen`.
    pub notifications: Option<Raw<'a>>,
    /// `requestId` of a cancellation.
    pub request_id: Option<Raw<'a>>,
    /// `progressToken` of a progress notification.
    pub progress_token: Option<Raw<'a>>,
}

/// `ref` of a completion: a prompt by name, or a resource template by URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference<'a> {
    /// The whole object.
    pub raw: Raw<'a>,
    /// `type`: `ref/prompt` or `ref/resource`.
    pub kind: Cow<'a, str>,
    /// `name` of a prompt.
    pub name: Option<Text<'a>>,
    /// `uri` of a template.
    pub uri: Option<Text<'a>>,
}

/// `_meta` of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta<'a> {
    /// The whole object.
    pub raw: Option<Raw<'a>>,
    /// `io.modelcontextprotocol/protocolVersion`.
    pub protocol_version: Option<Cow<'a, str>>,
    /// `io.modelcontextprotocol/clientCapabilities`.
    pub client_capabilities: Option<Raw<'a>>,
    /// `io.modelcontextprotocol/clientInfo`.
    pub client_info: Option<Raw<'a>>,
    /// `io.modelcontextprotocol/logLevel`.
    pub log_level: Option<Text<'a>>,
    /// `progressToken`.
    pub progress_token: Option<Raw<'a>>,
    /// Everything that belongs to no protocol revision: trace context and the like, as (key, value).
    pub others: Vec<(Cow<'a, str>, Raw<'a>)>,
}

/// Why a body is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadMessage {
    /// Not JSON: answered with -32700.
    NotJson(Malformed),
    /// JSON, but no JSON-RPC message: answered with -32600.
    NotRpc(&'static str),
    /// A message whose parameters have the wrong shape: answered with -32602.
    BadParams(&'static str),
    /// An array where the revision has no batches: answered with -32600.
    Batch,
}

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotJson(fault) => write!(f, "Parse error: {fault}"),
            Self::NotRpc(reason) => write!(f, "Invalid Request: {reason}"),
            Self::BadParams(reason) => write!(f, "Invalid params: {reason}"),
            Self::Batch => f.write_str("Invalid Request: this protocol revision has no batches; send one message a request"),
        }
    }
}

impl From<Malformed> for BadMessage {
    fn from(fault: Malformed) -> Self {
        Self::NotJson(fault)
    }
}

/// Members of the envelope as they were found, before it is known which kind of message they make.
#[derive(Default)]
struct Envelope<'a> {
    version_is_2: bool,
    id: Option<Raw<'a>>,
    method: Option<Cow<'a, str>>,
    params: Option<Params<'a>>,
    has_result: bool,
    has_error: bool,
    fault: Option<BadMessage>,
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// [`BadMessage`] says which of JSON, JSON-RPC or the parameters is at fault; it never repeats content.
    pub fn parse(body: &'a [u8]) -> Result<Self, BadMessage> {
        let mut reader = Reader::new(body, MESSAGE_DEPTH_MAX)?;
        match reader.kind()? {
            Kind::Object => {}
            Kind::Array => {
                reader.skip()?;
                reader.finish()?;
                return Err(BadMessage::Batch);
            }
            _ => {
                reader.skip()?;
                reader.finish()?;
                return Err(BadMessage::NotRpc("a message is a JSON object"));
            }
        }
        let mut envelope = Envelope::default();
        reader.object(|reader, key| envelope.read(reader, &key))?;
        reader.finish()?;
        envelope.into_message(body)
    }

    /// The id of a body that is no acceptable message, where it can still be read: so that its sender learns which of
    /// its requests was refused, and does not wait (JSON-RPC 2.0, section 5).
    #[must_use]
    pub fn id_of(body: &'a [u8]) -> Option<Raw<'a>> {
        let mut reader = Reader::new(body, MESSAGE_DEPTH_MAX).ok()?;
        let mut envelope = Envelope::default();
        let read = reader.object(|reader, key| match &*key {
            "id" | "method" => envelope.read(reader, &key),
            _ => reader.skip(),
        });
        read.and_then(|()| reader.finish()).ok()?;
        envelope.method.and(envelope.id)
    }

    /// Splits a batch into the bodies of its messages.
    ///
    /// # Errors
    /// [`BadMessage::NotJson`] where it is not JSON, [`BadMessage::NotRpc`] where it is empty, longer than `messages_max`
    /// or not an array.
    pub fn split_batch(body: &'a [u8], messages_max: usize) -> Result<Vec<&'a [u8]>, BadMessage> {
        let mut reader = Reader::new(body, MESSAGE_DEPTH_MAX)?;
        if reader.kind()? != Kind::Array {
            return Err(BadMessage::NotRpc("a batch is a JSON array"));
        }
        let mut bodies = Vec::new();
        let mut count = 0_usize;
        reader.array(|reader, _| {
            let raw = reader.raw()?;
            count = count.saturating_add(1);
            if count <= messages_max {
                bodies.push(raw.text.as_bytes());
            }
            Ok(())
        })?;
        reader.finish()?;
        match count {
            0 => Err(BadMessage::NotRpc("a batch holds at least one message")),
            n if n > messages_max => Err(BadMessage::NotRpc(
                "the batch holds more messages than the portal accepts",
            )),
            _ => Ok(bodies),
        }
    }
}

impl<'a> Envelope<'a> {
    fn read(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), Malformed> {
        match key {
            "jsonrpc" => {
                if reader.kind()? == Kind::String {
                    self.version_is_2 = reader.string()? == "2.0";
                } else {
                    reader.skip()?;
                }
            }
            "id" => {
                let kind = reader.kind()?;
                let raw = reader.raw()?;
                match kind {
                    Kind::String | Kind::Number if raw.text.len() <= ID_BYTES_MAX => {
                        if kind == Kind::Number && raw.text.contains(['.', 'e', 'E']) {
                            self.blame(BadMessage::NotRpc("a numeric id is an integer"));
                        }
                        self.id = Some(raw);
                    }
                    Kind::String | Kind::Number => {
                        self.blame(BadMessage::NotRpc("the id is too long"));
                    }
                    _ => self.blame(BadMessage::NotRpc("an id is a string or an integer")),
                }
            }
            "method" => {
                if reader.kind()? == Kind::String {
                    self.method = Some(reader.string()?);
                } else {
                    reader.skip()?;
                    self.blame(BadMessage::NotRpc("method is a string"));
                }
            }
            "params" => {
                if reader.kind()? == Kind::Object {
                    let mut params = Params::default();
                    let mut fault = None;
                    params.read(reader, &mut fault)?;
                    self.params = Some(params);
                    if let Some(fault) = fault {
                        self.blame(fault);
                    }
                } else {
                    reader.skip()?;
                    self.blame(BadMessage::BadParams("params is an object"));
                }
            }
            "result" => {
                self.has_result = true;
                reader.skip()?;
            }
            "error" => {
                self.has_error = true;
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    }

    /// The first fault is the one reported.
    fn blame(&mut self, fault: BadMessage) {
        self.fault.get_or_insert(fault);
    }

    fn into_message(self, body: &'a [u8]) -> Result<Message<'a>, BadMessage> {
        if !self.version_is_2 {
            return Err(BadMessage::NotRpc("jsonrpc must be \"2.0\""));
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let params = self.params.unwrap_or_default();
        match (self.method, self.id, self.has_result, self.has_error) {
            (Some(method), Some(id), false, false) => Ok(Message::Request(Request {
                id,
                method,
                params,
                body,
            })),
            (Some(method), None, false, false) => Ok(Message::Notification(Notification {
                method,
                params,
                body,
            })),
            (None, Some(id), true, false) => Ok(Message::Response(Response {
                id,
                is_error: false,
                body,
            })),
            (None, Some(id), false, true) => Ok(Message::Response(Response {
                id,
                is_error: true,
                body,
            })),
            _ => Err(BadMessage::NotRpc(
                "a message is a request, a notification or a response",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
