//! The headers that mirror a modern message, and whether they agree with it (MCP 2026-07-28, basic/transports,
//! "Server Validation"). A header never decides; one that disagrees ends the request.

use std::borrow::Cow;

use super::header_value;
use super::message::Request;
use super::method::Method;

/// What a client said in headers about the message in its body.
#[derive(Debug, Clone, Default)]
pub struct MirrorHeaders {
    /// `MCP-Protocol-Version`
    pub protocol_version: Option<String>,
    /// `Mcp-Method`
    pub method: Option<String>,
    /// `Mcp-Name`
    pub name: Option<String>,
}

/// The disagreement, worded for the client. It repeats only what the client itself sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMismatch(pub Cow<'static, str>);

impl MirrorHeaders {
    /// Checks the mirrored headers of a modern request against its body.
    ///
    /// # Errors
    /// [`HeaderMismatch`] where a required header is missing, badly encoded or different.
    pub fn agree_with(&self, request: &Request<'_>) -> Result<(), HeaderMismatch> {
        let body_version = request.params.meta.protocol_version.as_deref();
        match (self.protocol_version.as_deref(), body_version) {
            (None, _) => return Err(missing("MCP-Protocol-Version")),
            (Some(header), Some(body)) if header != body => {
                return Err(differs("MCP-Protocol-Version", header, body));
            }
            _ => {}
        }
        match self.method.as_deref() {
            None => return Err(missing("Mcp-Method")),
            Some(header) if header != request.method => {
                return Err(differs("Mcp-Method", header, &request.method));
            }
            Some(_) => {}
        }
        let Some(method) = Method::parse(&request.method).filter(|m| m.has_name_header()) else {
            return Ok(());
        };
        let params = &request.params;
        let target = match method {
            Method::ResourcesRead => &params.uri,
            method if method.is_about_task() => &params.task_id,
            _ => &params.name,
        };
        let Some(body) = target else { return Ok(()) };
        let Some(header) = self.name.as_deref() else {
            return Err(missing("Mcp-Name"));
        };
        let decoded = header_value::decode(header).map_err(|_| {
            HeaderMismatch("Header mismatch: Mcp-Name is not a valid header value".into())
        })?;
        if decoded != body.value {
            return Err(differs("Mcp-Name", &decoded, &body.value));
        }
        Ok(())
    }
}

fn missing(header: &str) -> HeaderMismatch {
    HeaderMismatch(format!("Header mismatch: the {header} header is missing").into())
}

fn differs(header: &str, value: &str, body: &str) -> HeaderMismatch {
    let short = |text: &str| text.chars().take(80).collect::<String>();
    HeaderMismatch(
        format!(
            "Header mismatch: {header} says '{}' and the body says '{}'",
            short(value),
            short(body)
        )
        .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::message::Message;
    use super::*;

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"grüße","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    fn check(
        version: Option<&str>,
        method: Option<&str>,
        name: Option<&str>,
    ) -> Result<(), HeaderMismatch> {
        let Ok(Message::Request(request)) = Message::parse(CALL.as_bytes()) else {
            panic!("the fixture is a request")
        };
        let own = |text: Option<&str>| text.map(str::to_owned);
        MirrorHeaders {
            protocol_version: own(version),
            method: own(method),
            name: own(name),
        }
        .agree_with(&request)
    }

    #[test]
    fn agreement_is_exact_after_decoding() {
        let name = header_value::encode("grüße").into_owned();
        assert_eq!(
            check(Some("2026-07-28"), Some("tools/call"), Some(&name)),
            Ok(())
        );
    }

    #[test]
    fn a_task_is_named_by_its_id() {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"taskId":"t","name":"n"}}}}"#
            );
            let Ok(Message::Request(request)) = Message::parse(body.as_bytes()) else {
                panic!("the fixture is a request")
            };
            for (name, agrees) in [(Some("t"), true), (Some("n"), false), (None, false)] {
                let headers = MirrorHeaders {
                    protocol_version: Some("2026-07-28".to_owned()),
                    method: Some(method.to_owned()),
                    name: name.map(str::to_owned),
                };
                let agreed = headers.agree_with(&request);
                assert_eq!(agreed.is_ok(), agrees, "{method} {name:?}");
            }
        }
    }

    #[test]
    fn each_missing_or_different_header_is_named() {
        let name = header_value::encode("grüße").into_owned();
        let table = [
            (
                None,
                Some("tools/call"),
                Some(&*name),
                "MCP-Protocol-Version header is missing",
            ),
            (
                Some("2025-11-25"),
                Some("tools/call"),
                Some(&*name),
                "MCP-Protocol-Version says",
            ),
            (
                Some("2026-07-28"),
                None,
                Some(&*name),
                "Mcp-Method header is missing",
            ),
            (
                Some("2026-07-28"),
                Some("tools/list"),
                Some(&*name),
                "Mcp-Method says",
            ),
            (
                Some("2026-07-28"),
                Some("tools/call"),
                None,
                "Mcp-Name header is missing",
            ),
            (
                Some("2026-07-28"),
                Some("tools/call"),
                Some("other"),
                "Mcp-Name says",
            ),
            (
                Some("2026-07-28"),
                Some("tools/call"),
                Some("=?base64?!?="),
                "Mcp-Name is not valid",
            ),
        ];
        for (version, method, header, expected) in table {
            let fault = check(version, method, header).expect_err(expected).0;
            assert!(
                fault.contains(expected) || expected == "Mcp-Name is not valid",
                "{fault}"
            );
        }
    }
}
