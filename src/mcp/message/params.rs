//! Reading the parameters: what the portal looks at, in one pass with the rest of the message.

use super::super::json::{Kind, Malformed, Raw, Reader};
use super::{BadMessage, Meta, Params, Reference, Text};
use crate::limits::NAME_BYTES_MAX;

/// Reads a string member, or notes that it is none.
fn text<'a>(
    reader: &mut Reader<'a>,
    fault: &mut Option<BadMessage>,
    reason: &'static str,
) -> Result<Option<Text<'a>>, Malformed> {
    let kind = reader.kind()?;
    let raw = reader.raw()?;
    if kind != Kind::String {
        fault.get_or_insert(BadMessage::BadParams(reason));
        return Ok(None);
    }
    let value = Reader::again(raw, 1).string()?;
    Ok(Some(Text { value, raw }))
}

/// Reads an object member, or notes that it is none.
fn object<'a>(
    reader: &mut Reader<'a>,
    fault: &mut Option<BadMessage>,
    reason: &'static str,
) -> Result<Option<Raw<'a>>, Malformed> {
    let kind = reader.kind()?;
    let raw = reader.raw()?;
    if kind != Kind::Object {
        fault.get_or_insert(BadMessage::BadParams(reason));
        return Ok(None);
    }
    Ok(Some(raw))
}

impl<'a> Params<'a> {
    pub(super) fn read(
        &mut self,
        reader: &mut Reader<'a>,
        fault: &mut Option<BadMessage>,
    ) -> Result<(), Malformed> {
        let start = reader.offset();
        reader.object(|reader, key| {
            match &*key {
                "name" => self.name = text(reader, fault, "name is a string")?,
                "uri" => self.uri = text(reader, fault, "uri is a string")?,
                "arguments" => self.arguments = object(reader, fault, "arguments is an object")?,
                "cursor" => self.cursor = text(reader, fault, "cursor is a string")?,
                "_meta" => {
                    if reader.kind()? == Kind::Object {
                        self.meta.read(reader, fault)?;
                    } else {
                        reader.skip()?;
                        fault.get_or_insert(BadMessage::BadParams("_meta is an object"));
                    }
                }
                "requestState" => {
                    self.request_state = text(reader, fault, "requestState is a string")?;
                }
                "inputResponses" => {
                    self.input_responses = object(reader, fault, "inputResponses is an object")?;
                }
                "ref" => self.reference = reference(reader, fault)?,
                "argument" => self.argument = Some(reader.raw()?),
                "context" => self.context = Some(reader.raw()?),
                "protocolVersion" => {
                    self.protocol_version =
                        text(reader, fault, "protocolVersion is a string")?.map(|text| text.value);
                }
                "capabilities" => {
                    self.capabilities = object(reader, fault, "capabilities is an object")?;
                }
                "clientInfo" => {
                    self.client_info = object(reader, fault, "clientInfo is an object")?;
                }
                "level" => self.level = text(reader, fault, "level is a string")?,
                "notifications" => {
                    self.notifications = object(reader, fault, "notifications is an object")?;
                }
                "taskId" => self.task_id = text(reader, fault, "taskId is a string")?,
                "requestId" => self.request_id = Some(reader.raw()?),
                "progressToken" => self.progress_token = Some(reader.raw()?),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        self.raw = reader.since(start);
        if [&self.name, &self.uri]
            .into_iter()
            .flatten()
            .any(|text| text.value.len() > NAME_BYTES_MAX)
        {
            fault.get_or_insert(BadMessage::BadParams("the name or uri is too long"));
        }
        Ok(())
    }
}

impl<'a> Meta<'a> {
    fn read(
        &mut self,
        reader: &mut Reader<'a>,
        fault: &mut Option<BadMessage>,
    ) -> Result<(), Malformed> {
        let start = reader.offset();
        reader.object(|reader, key| {
            match &*key {
                "io.modelcontextprotocol/protocolVersion" => {
                    self.protocol_version =
                        text(reader, fault, "_meta protocolVersion is a string")?
                            .map(|text| text.value);
                }
                "io.modelcontextprotocol/clientCapabilities" => {
                    self.client_capabilities =
                        object(reader, fault, "_meta clientCapabilities is an object")?;
                }
                "io.modelcontextprotocol/clientInfo" => {
                    self.client_info = object(reader, fault, "_meta clientInfo is an object")?;
                }
                "io.modelcontextprotocol/logLevel" => {
                    self.log_level = text(reader, fault, "_meta logLevel is a string")?;
                }
                "progressToken" => self.progress_token = token(reader, fault)?,
                _ => {
                    let raw = reader.raw()?;
                    if !key.starts_with("io.modelcontextprotocol/") {
                        self.others.push((key, raw));
                    }
                }
            }
            Ok(())
        })?;
        self.raw = reader.since(start);
        Ok(())
    }
}

/// Reads a progress token: a string or a number.
fn token<'a>(
    reader: &mut Reader<'a>,
    fault: &mut Option<BadMessage>,
) -> Result<Option<Raw<'a>>, Malformed> {
    let kind = reader.kind()?;
    let raw = reader.raw()?;
    if !matches!(kind, Kind::String | Kind::Number) {
        fault.get_or_insert(BadMessage::BadParams(
            "progressToken is a string or a number",
        ));
        return Ok(None);
    }
    Ok(Some(raw))
}

fn reference<'a>(
    reader: &mut Reader<'a>,
    fault: &mut Option<BadMessage>,
) -> Result<Option<Reference<'a>>, Malformed> {
    if reader.kind()? != Kind::Object {
        reader.skip()?;
        fault.get_or_insert(BadMessage::BadParams("ref is an object"));
        return Ok(None);
    }
    let start = reader.offset();
    let (mut kind, mut name, mut uri) = (None, None, None);
    reader.object(|reader, key| {
        match &*key {
            "type" => kind = text(reader, fault, "ref.type is a string")?.map(|text| text.value),
            "name" => name = text(reader, fault, "ref.name is a string")?,
            "uri" => uri = text(reader, fault, "ref.uri is a string")?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    let (Some(kind), Some(raw)) = (kind, reader.since(start)) else {
        fault.get_or_insert(BadMessage::BadParams("ref.type is missing"));
        return Ok(None);
    };
    Ok(Some(Reference {
        raw,
        kind,
        name,
        uri,
    }))
}
