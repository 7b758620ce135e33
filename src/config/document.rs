//! JSON in which a key given twice is an error. `serde_json::Value` alone keeps the last one, and then whoever
//! reviewed the first one approved something else.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::fault::ConfigError;
use super::limits::DOCUMENT_BYTES_MAX;

/// Reads a document's JSON form. Nesting is bounded by `serde_json` (128 levels).
pub(super) fn read(json: &[u8]) -> Result<Value, ConfigError> {
    let fault = |message| ConfigError {
        pointer: String::new(),
        message,
    };
    if json.len() > DOCUMENT_BYTES_MAX {
        let message = format!(
            "the document has {} bytes; at most {DOCUMENT_BYTES_MAX} are accepted",
            json.len()
        );
        return Err(fault(message));
    }
    match serde_json::from_slice::<Unambiguous>(json) {
        Ok(Unambiguous(value)) => Ok(value),
        Err(error) => Err(fault(format!(
            "the document is not acceptable JSON: {error}"
        ))),
    }
}

struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Unambiguous(value) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` is given twice"
                )));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_value() {
        let json = br#"{"a":[null,true,-1,18446744073709551615,1.5,"x\u0041"],"b":{}}"#;
        assert_eq!(
            read(json).unwrap(),
            serde_json::from_slice::<Value>(json).unwrap()
        );
    }

    #[test]
    fn refuses_a_key_given_twice() {
        let error = read(br#"{"servers":{"a":{}, "a":{}}}"#).unwrap_err();
        assert!(
            error.message.contains("the key `a` is given twice"),
            "{error}"
        );
        assert!(error.message.contains("line 1"), "{error}");
    }

    #[test]
    fn refuses_what_is_not_json_or_too_large_or_too_deep() {
        assert!(
            read(b"{")
                .unwrap_err()
                .message
                .contains("not acceptable JSON")
        );
        assert!(
            read(&vec![b' '; DOCUMENT_BYTES_MAX + 1])
                .unwrap_err()
                .message
                .contains("at most")
        );
        assert!(
            read("[".repeat(100_000).as_bytes())
                .unwrap_err()
                .message
                .contains("recursion")
        );
    }
}
