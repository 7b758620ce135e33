//! Documents nobody would write.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[a-z_]{0,8}",
        Just("url".to_owned()),
        Just("servers".to_owned()),
        any::<String>()
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(word.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place of a document.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(table) => {
            table
                .iter()
                .for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        Value::Array(list) => {
            list.iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, &production());
    }

    /// Whatever stands in one place: errors point at something that exists, and their text is safe to print.
    #[test]
    fn any_value_anywhere_is_read_or_refused(place in any::<prop::sample::Index>(), value in any_json()) {
        let mut document = whole();
        let mut found = Vec::new();
        places(&document, "", &mut found);
        // A key with a slash in it would need escaping; the document has none but the claim's, which is a value.
        let place: &String = place.get(&found);
        *document.pointer_mut(place).unwrap() = value;
        if let Err(errors) = check(&document, &local()) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(document.pointer(&error.pointer).is_some(), "{error}");
                prop_assert!(!error.message.contains(char::is_control), "{error}");
            }
        }
    }
}
