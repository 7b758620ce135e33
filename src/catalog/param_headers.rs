//! Arguments that a server wants mirrored in headers: `x-mcp-header` (MCP 2026-07-28, "Custom Headers from Tool
//! Parameters").

use serde_json::Value;

use crate::mcp::header_value;

/// The schema keyword.
pub const KEYWORD: &str = "x-mcp-header";

/// One mirrored argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamHeader {
    /// The property names from the schema's root to the argument.
    pub path: Vec<String>,
    /// The whole header name, `Mcp-Param-...`.
    pub header: String,
}

/// Reads the annotations of an input schema.
///
/// # Errors
/// Why the whole tool is invalid: a name that is no token or used twice, a type that is not primitive, or a place that is
/// not reached through `properties` alone.
pub fn parse(schema: &str) -> Result<Vec<ParamHeader>, String> {
    let schema: Value =
        serde_json::from_str(schema).map_err(|_| "its schema is no JSON".to_owned())?;
    let mut headers = Vec::new();
    let mut path = Vec::new();
    walk(&schema, &mut path, true, &mut headers)?;
    let mut names: Vec<String> = headers
        .iter()
        .map(|header| header.header.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    if names.len() < count {
        return Err(format!("it uses one {KEYWORD} name twice"));
    }
    Ok(headers)
}

fn walk(
    node: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    out: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    match node {
        Value::Object(members) => {
            if let Some(annotation) = members.get(KEYWORD) {
                if !reachable || path.is_empty() {
                    return Err(format!(
                        "it has {KEYWORD} where the argument is not reached by properties alone"
                    ));
                }
                out.push(ParamHeader {
                    path: path.clone(),
                    header: header_name(annotation, members.get("type"))?,
                });
            }
            for (key, child) in members {
                match (key.as_str(), child) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            path.push(name.clone());
                            walk(property, path, reachable, out)?;
                            path.pop();
                        }
                    }
                    ("default" | "const" | "enum" | "examples", _) => {}
                    _ => walk(child, path, false, out)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| walk(item, path, false, out)),
        _ => Ok(()),
    }
}

fn header_name(annotation: &Value, kind: Option<&Value>) -> Result<String, String> {
    let name = annotation.as_str().unwrap_or_default();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("its {KEYWORD} is no header name"));
    }
    if !matches!(
        kind.and_then(Value::as_str),
        Some("string" | "integer" | "boolean")
    ) {
        return Err(format!(
            "its {KEYWORD} is on an argument that is no string, integer or boolean"
        ));
    }
    Ok(format!("Mcp-Param-{name}"))
}

/// The headers to send with a call: name and encoded value of every mirrored argument that is there.
#[must_use]
pub fn of_call(headers: &[ParamHeader], arguments: Option<&str>) -> Vec<(String, String)> {
    let Some(arguments) = arguments.and_then(|text| serde_json::from_str::<Value>(text).ok())
    else {
        return Vec::new();
    };
    headers
        .iter()
        .filter_map(|header| {
            let value = plain(argument(&arguments, &header.path)?)?;
            Some((
                header.header.clone(),
                header_value::encode(&value).into_owned(),
            ))
        })
        .collect()
}

/// Whether what a client sent in headers is what its body says; the name of the header that is not.
///
/// # Errors
/// A sentence for the client.
pub fn agree(
    headers: &[ParamHeader],
    arguments: Option<&str>,
    sent: &dyn Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let arguments = arguments
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
        .unwrap_or(Value::Null);
    for header in headers {
        let value = argument(&arguments, &header.path);
        let is_number = value.is_some_and(Value::is_number);
        let body = value.and_then(plain);
        let name = &header.header;
        match (body, sent(name)) {
            (None, None) => {}
            (None, Some(_)) => {
                return Err(format!(
                    "Header mismatch: {name} is sent and the body has no such argument"
                ));
            }
            (Some(_), None) => {
                return Err(format!("Header mismatch: the {name} header is missing"));
            }
            (Some(body), Some(sent)) => {
                let decoded = header_value::decode(&sent)
                    .map_err(|_| format!("Header mismatch: {name} is not a valid header value"))?;
                if decoded != body && !(is_number && header_value::same_number(&decoded, &body)) {
                    return Err(format!("Header mismatch: {name} and the body differ"));
                }
            }
        }
    }
    Ok(())
}

fn argument<'v>(arguments: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter()
        .try_fold(arguments, |value, name| value.get(name))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}"#;

    #[test]
    fn annotations_are_found_through_properties() {
        let headers = parse(SCHEMA).unwrap();
        assert_eq!(headers.len(), 2);
        let sent = of_call(&headers, Some(r#"{"region":"Zürich","deep":{"n":42}}"#));
        assert!(sent.contains(&("Mcp-Param-N".into(), "42".into())));
        assert!(
            sent.iter()
                .any(|(name, value)| name == "Mcp-Param-Region" && value.starts_with("=?base64?"))
        );
        assert!(of_call(&headers, Some(r#"{"region":null}"#)).is_empty());
    }

    #[test]
    fn invalid_annotations_make_the_tool_invalid() {
        let table = [
            r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}"#,
            r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"object","x-mcp-header":"A"}}}"#,
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
            r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
            r#"{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
            r#"{"x-mcp-header":"A","type":"string"}"#,
        ];
        for schema in table {
            assert!(parse(schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn headers_must_say_what_the_body_says() {
        let headers = parse(SCHEMA).unwrap();
        let body = Some(r#"{"region":"eu","deep":{"n":42}}"#);
        let sent = |region: Option<&'static str>, n: Option<&'static str>| {
            move |name: &str| {
                if name == "Mcp-Param-Region" {
                    region
                } else {
                    n
                }
                .map(str::to_owned)
            }
        };
        assert_eq!(
            agree(&headers, body, &sent(Some("eu"), Some("42.0"))),
            Ok(())
        );
        assert!(agree(&headers, body, &sent(Some("us"), Some("42"))).is_err());
        assert!(agree(&headers, body, &sent(None, Some("42"))).is_err());
        assert!(agree(&headers, Some("{}"), &sent(Some("eu"), None)).is_err());
    }
}
