//! The tasks extension (SEP-2663): what clients and servers declare of it.

use serde_json::Value;

/// The extension's identifier.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Capabilities that declare the extension and nothing else, as JSON text.
pub const CAPABILITIES: &str = "{\"extensions\":{\"io.modelcontextprotocol/tasks\":{}}}";

/// Whether capabilities, as JSON text, declare the extension.
#[must_use]
pub fn is_declared(capabilities: &str) -> bool {
    may_name(capabilities)
        && serde_json::from_str::<Value>(capabilities).is_ok_and(|value| is_declared_in(&value))
}

/// Whether capabilities declare the extension: its settings are an object, empty so far (SEP-2663, "Capability
/// Negotiation").
#[must_use]
pub fn is_declared_in(capabilities: &Value) -> bool {
    capabilities
        .get("extensions")
        .and_then(|extensions| extensions.get(EXTENSION))
        .is_some_and(Value::is_object)
}

/// Capabilities without the extension, as JSON text; nothing where they do not name it.
#[must_use]
pub fn without(capabilities: &str) -> Option<String> {
    if !may_name(capabilities) {
        return None;
    }
    let Ok(mut value) = serde_json::from_str::<Value>(capabilities) else {
        return Some("{}".to_owned());
    };
    value
        .get_mut("extensions")?
        .as_object_mut()?
        .remove(EXTENSION)?;
    Some(value.to_string())
}

/// A cheap look before the text is parsed: what is spelled with escapes may be anything.
fn may_name(capabilities: &str) -> bool {
    capabilities.contains(EXTENSION) || capabilities.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_found_however_it_is_spelled() {
        assert!(is_declared(CAPABILITIES));
        for (capabilities, declared, stripped) in [
            ("{}", false, None),
            (r#"{"extensions":{}}"#, false, None),
            (r#"{"extensions":7}"#, false, None),
            (r#"{"io.modelcontextprotocol/tasks":{}}"#, false, None),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":{},"a/b":{}}}"#,
                true,
                Some(r#"{"extensions":{"a/b":{}}}"#),
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol\/t\u0061sks":{}}}"#,
                true,
                Some(r#"{"extensions":{}}"#),
            ),
            (
                r#"{"extensions":{"io.modelcontextprotocol/tasks":null}}"#,
                false,
                Some(r#"{"extensions":{}}"#),
            ),
        ] {
            assert_eq!(is_declared(capabilities), declared, "{capabilities}");
            assert_eq!(without(capabilities).as_deref(), stripped, "{capabilities}");
        }
    }
}
