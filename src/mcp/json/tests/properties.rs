//! The reader against `serde_json`, on whatever can be generated.

use proptest::prelude::*;
use serde_json::{Value, value::RawValue};

use super::super::*;
use super::{DEPTH_MAX, check, check_trusting, check_visiting};

/// Documents as `serde_json` writes them, half of them spread over lines.
fn documents() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ -~]{0,40}".prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..20)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    (value, any::<bool>()).prop_map(|(value, spread)| {
        if spread {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        }
    })
}

/// Damage that keeps documents nearly JSON: bytes overwritten, inserted and removed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(br#"{}[]:,"\/ue0123-+.tfn aE"#.to_vec()),
        any::<u8>(),
    ];
    let damage = (any::<prop::sample::Index>(), byte, 0..3_u8);
    (documents(), prop::collection::vec(damage, 0..4)).prop_map(|(document, damages)| {
        let mut bytes = document.into_bytes();
        for (place, byte, what) in damages {
            let at = place.index(bytes.len() + 1);
            match what {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        bytes
    })
}

/// Short documents of the grammar's own tokens, nearly valid far more often than random bytes.
fn tokens() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"\\u0061\"",
        "1",
        "-0.5e1",
        "true",
        "null",
        " ",
        "\n",
        "\"",
        "\\",
        "{\"a\":",
        "[1,",
    ]);
    prop::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat().into_bytes())
}

/// What `serde_json` says, for documents both can judge: its own reader of raw values looks at
/// neither duplicates nor surrogates, and has no limit of depth here.
fn judged_by_serde(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok())
}

/// Whether the verdict is `serde_json`'s, or one of the rules that only this reader has.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let valid = judged_by_serde(bytes);
    match check_trusting(bytes) {
        Err(Malformed {
            fault: Fault::TooDeep,
            ..
        }) => {}
        verdict => prop_assert_eq!(verdict.is_ok(), valid, "{:?}", verdict),
    }
    match check(bytes) {
        Err(Malformed {
            fault: Fault::TooDeep | Fault::DuplicateKey,
            ..
        }) => {}
        Err(Malformed {
            fault: Fault::BadString,
            ..
        }) if valid => {
            prop_assert!(serde_json::from_slice::<Value>(bytes).is_err());
        }
        verdict => prop_assert_eq!(verdict.is_ok(), valid, "{:?}", verdict),
    }
    // Both ways of reading see the same, but only visiting decodes the strings.
    match (check(bytes), check_visiting(bytes)) {
        (Ok(()), Err(fault)) => prop_assert_eq!(fault.fault, Fault::BadString),
        // A surrogate is found where the string is decoded, before whatever comes later.
        (
            Err(_),
            Err(Malformed {
                fault: Fault::BadString,
                ..
            }),
        ) => {}
        (skimmed, visited) => prop_assert_eq!(skimmed, visited),
    }
    Ok(())
}

/// The values of a document, read with this reader.
fn rebuild(reader: &mut Reader<'_>) -> Result<Value, Malformed> {
    Ok(match reader.kind()? {
        Kind::Object => {
            let mut members = serde_json::Map::new();
            reader.object(|reader, name| {
                members.insert(name.into_owned(), rebuild(reader)?);
                Ok(())
            })?;
            Value::Object(members)
        }
        Kind::Array => {
            let mut elements = Vec::new();
            reader.array(|reader, _| {
                elements.push(rebuild(reader)?);
                Ok(())
            })?;
            Value::Array(elements)
        }
        Kind::String => Value::String(reader.string()?.into_owned()),
        Kind::Bool => Value::Bool(reader.bool()?),
        Kind::Number | Kind::Null => serde_json::from_str(reader.raw()?.text).unwrap(),
    })
}

/// The spans of every value in a document, outermost first.
fn spans<'a>(reader: &mut Reader<'a>, into: &mut Vec<Raw<'a>>) -> Result<(), Malformed> {
    let raw = reader.raw()?;
    into.push(raw);
    let mut inside = Reader::again(raw, DEPTH_MAX);
    match inside.kind()? {
        Kind::Object => inside.object(|reader, _| spans(reader, into)),
        Kind::Array => inside.array(|reader, _| spans(reader, into)),
        _ => Ok(()),
    }
}

proptest! {
    #[test]
    fn values_are_those_serde_json_reads(document in documents()) {
        let mut reader = Reader::new(document.as_bytes(), DEPTH_MAX).unwrap();
        let value = rebuild(&mut reader).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(value, serde_json::from_str::<Value>(&document).unwrap());
    }

    #[test]
    fn damaged_documents_are_judged_as_serde_json_does(bytes in damaged()) {
        agrees(&bytes)?;
    }

    #[test]
    fn token_soup_is_judged_as_serde_json_does(bytes in tokens()) {
        agrees(&bytes)?;
    }

    #[test]
    fn strings_of_escapes_are_decoded_as_serde_json_does(
        inner in r#"(\\["\\/bfnrtux]|\\u[0-9a-fA-F]{4}|\\ud[89abcdef][0-9a-f]{2}|[ -~]|é|😀|\n){0,12}"#
    ) {
        let text = format!("\"{inner}\"");
        let ours = Reader::new(text.as_bytes(), 0).unwrap().string().map(Cow::into_owned);
        let mut stream = serde_json::Deserializer::from_str(&text).into_iter::<String>();
        prop_assert_eq!(ours.ok(), stream.next().and_then(Result::ok), "{}", text);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in any::<Vec<u8>>()) {
        agrees(&bytes)?;
    }

    #[test]
    fn spans_reproduce_the_text(document in documents()) {
        let mut reader = Reader::new(document.as_bytes(), DEPTH_MAX).unwrap();
        let mut found = Vec::new();
        spans(&mut reader, &mut found).unwrap();
        for raw in found {
            prop_assert_eq!(raw.text, &document[raw.start..raw.end]);
            prop_assert_eq!(raw.text.trim(), raw.text);
            prop_assert!(judged_by_serde(raw.text.as_bytes()));
        }
    }

    #[test]
    fn escaped_text_is_read_back(text in any::<String>()) {
        let mut out = Vec::new();
        escape_into(&mut out, &text);
        prop_assert_eq!(Reader::new(&out, 0).unwrap().string().unwrap(), text.as_str());
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn control_characters_are_escaped_as_serde_json_does(text in "[\0-\u{7f}]{0,40}") {
        let mut out = Vec::new();
        escape_into(&mut out, &text);
        prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
    }

    #[test]
    fn spliced_documents_are_the_kept_and_the_new_parts(
        original in any::<Vec<u8>>(),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        new in any::<Vec<u8>>(),
    ) {
        let mut places: Vec<usize> = cuts.drain(..).map(|cut| cut.index(original.len() + 1)).collect();
        places.sort_unstable();
        let edits: Vec<_> = places.chunks_exact(2).map(|pair| (pair[0]..pair[1], &new[..])).collect();
        // From the back, so that the earlier places stay where they were.
        let mut expected = original.clone();
        for (range, new) in edits.iter().rev() {
            expected.splice(range.clone(), new.iter().copied());
        }
        prop_assert_eq!(splice(&original, &edits), expected);
    }

    #[test]
    fn nonsense_edits_do_not_panic(
        original in any::<Vec<u8>>(),
        edits in prop::collection::vec((0..40_usize, 0..40_usize), 0..8),
    ) {
        let edits: Vec<_> = edits.into_iter().map(|(start, end)| (start..end, &b"x"[..])).collect();
        let spliced = splice(&original, &edits);
        prop_assert!(spliced.len() <= original.len() + edits.len());
    }

    #[test]
    fn eight_at_a_time_finds_what_one_at_a_time_finds(bytes in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(b"\"\\\n\r \x1f\x20\x21\x7f\x80\xff".to_vec()), Just(b'a'), Just(b'a')],
        0..64,
    )) {
        let plain = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len());
        prop_assert_eq!(words::plain_length(&bytes), plain);
        let line = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(bytes.len());
        prop_assert_eq!(words::line_length(&bytes), line);
    }
}
