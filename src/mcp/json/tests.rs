//! The reader against RFC 8259 and its own promises, case by case.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test may panic"
)]

mod properties;

use std::fmt::Write;

use super::*;

const DEPTH_MAX: u16 = 64;

/// Reads a whole document with duplicates refused.
fn check(bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(bytes, DEPTH_MAX)?;
    reader.skip()?;
    reader.finish()
}

/// The same without looking for duplicates.
fn check_trusting(bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::trusting(bytes, DEPTH_MAX)?;
    reader.skip()?;
    reader.finish()
}

/// The same, but through the visitors, down to the last value.
fn check_visiting(bytes: &[u8]) -> Result<(), Malformed> {
    fn visit(reader: &mut Reader<'_>) -> Result<(), Malformed> {
        match reader.kind()? {
            Kind::Object => reader.object(|reader, _| visit(reader)),
            Kind::Array => reader.array(|reader, _| visit(reader)),
            Kind::String => reader.string().map(drop),
            Kind::Bool => reader.bool().map(drop),
            Kind::Number | Kind::Null => reader.skip(),
        }
    }
    let mut reader = Reader::new(bytes, DEPTH_MAX)?;
    visit(&mut reader)?;
    reader.finish()
}

#[test]
fn accepts_what_rfc_8259_allows() {
    for document in [
        "null",
        " true ",
        "\tfalse\r\n",
        "0",
        "-0",
        "10",
        "-1.5e+30",
        "1E400",
        "0.0",
        "0e0",
        "123456789012345678901234567890",
        r#""""#,
        r#""a\"\\\/\b\f\n\r\tz""#,
        r#""\u00e9\uD83D\uDE00""#,
        "\"\u{7f}\u{2028}é世😀\"",
        "[]",
        "[ ]",
        "[1 , 2]",
        "{}",
        "{ }",
        r#"{ "a" : 1 , "b" : [ { } , [ ] ] }"#,
        r#"{"":{"":{"":""}}}"#,
        r#"[{"a":1},{"a":2}]"#,
        r#"{"a":{"a":1},"b":{"a":1}}"#,
    ] {
        assert_eq!(check(document.as_bytes()), Ok(()), "{document}");
        assert_eq!(check_trusting(document.as_bytes()), Ok(()), "{document}");
        assert_eq!(check_visiting(document.as_bytes()), Ok(()), "{document}");
    }
}

#[test]
fn refuses_what_rfc_8259_forbids() {
    use Fault::*;
    for (document, fault, offset) in [
        ("", UnexpectedEnd, 0),
        ("  ", UnexpectedEnd, 2),
        ("tru", UnexpectedEnd, 3),
        ("trux", UnexpectedByte, 3),
        ("nul", UnexpectedEnd, 3),
        ("True", UnexpectedByte, 0),
        ("truee", TrailingData, 4),
        ("1 2", TrailingData, 2),
        ("{}}", TrailingData, 2),
        ("\u{b}1", UnexpectedByte, 0),
        ("\u{a0}1", UnexpectedByte, 0),
        ("NaN", UnexpectedByte, 0),
        ("Infinity", UnexpectedByte, 0),
        ("-Infinity", BadNumber, 1),
        ("+1", UnexpectedByte, 0),
        (".5", UnexpectedByte, 0),
        ("-", BadNumber, 1),
        ("01", BadNumber, 1),
        ("-01", BadNumber, 2),
        ("1.", BadNumber, 2),
        ("1.e1", BadNumber, 2),
        ("1e", BadNumber, 2),
        ("1e+", BadNumber, 3),
        ("0x1", TrailingData, 1),
        ("1_0", TrailingData, 1),
        ("'a'", UnexpectedByte, 0),
        ("\"a", UnexpectedEnd, 2),
        ("\"a\\\"", UnexpectedEnd, 4),
        ("\"\n\"", BadString, 1),
        ("\"abcdefgh\u{1f}\"", BadString, 9),
        ("\"\0\"", BadString, 1),
        (r#""\x41""#, BadString, 1),
        (r#""\'""#, BadString, 1),
        (r#""\u12g4""#, BadString, 1),
        (r#""\u 123""#, BadString, 1),
        (r#""\u+123""#, BadString, 1),
        (r#""\u12"#, UnexpectedEnd, 5),
        (r#""\"#, UnexpectedEnd, 2),
        ("[", UnexpectedEnd, 1),
        ("[1", UnexpectedEnd, 2),
        ("[1,", UnexpectedEnd, 3),
        ("[1,]", UnexpectedByte, 3),
        ("[,1]", UnexpectedByte, 1),
        ("[1 2]", UnexpectedByte, 3),
        ("[1}", UnexpectedByte, 2),
        ("]", UnexpectedByte, 0),
        ("{", UnexpectedEnd, 1),
        (r#"{"a"}"#, UnexpectedByte, 4),
        (r#"{"a":}"#, UnexpectedByte, 5),
        (r#"{"a":1,}"#, UnexpectedByte, 7),
        (r#"{"a":1]"#, UnexpectedByte, 6),
        (r#"{"a" 1}"#, UnexpectedByte, 5),
        (r#"{"a":1 "b":2}"#, UnexpectedByte, 7),
        (r"{1:2}", UnexpectedByte, 1),
        (r"{a:1}", UnexpectedByte, 1),
        (r#"{"a":1,"a":2}"#, DuplicateKey, 7),
        (r#"{"name":1,"\u006eame":2}"#, DuplicateKey, 10),
        (r#"{"\u006eame":1,"n\u0061me":2}"#, DuplicateKey, 15),
        (r#"{"😀":1,"\ud83d\ude00":2}"#, DuplicateKey, 10),
        (r#"{"a":{"b":[{"c":1,"d":0,"c":2}]}}"#, DuplicateKey, 24),
        (r#"{"a":{"b":1},"a":2}"#, DuplicateKey, 13),
        (r#"{"\ud800":1}"#, BadString, 2),
        ("// a\n1", UnexpectedByte, 0),
    ] {
        let refused = Err(Malformed { fault, offset });
        assert_eq!(check(document.as_bytes()), refused, "{document}");
        assert_eq!(check_visiting(document.as_bytes()), refused, "{document}");
    }
}

#[test]
fn refuses_bytes_that_are_not_utf_8_and_byte_order_marks() {
    let fault = |bytes: &[u8]| Reader::new(bytes, DEPTH_MAX).err();
    assert_eq!(
        fault(b"\"\xff\""),
        Some(Malformed {
            fault: Fault::NotUtf8,
            offset: 1
        })
    );
    assert_eq!(
        fault(b"\"a\xed\xa0\x80\""),
        Some(Malformed {
            fault: Fault::NotUtf8,
            offset: 2
        })
    );
    assert_eq!(
        fault(b"\"\xc0\xaf\""),
        Some(Malformed {
            fault: Fault::NotUtf8,
            offset: 1
        })
    );
    assert_eq!(
        fault(b"[\xe4\xb8"),
        Some(Malformed {
            fault: Fault::NotUtf8,
            offset: 1
        })
    );
    assert_eq!(
        fault(b"\xef\xbb\xbf1"),
        Some(Malformed {
            fault: Fault::ByteOrderMark,
            offset: 0
        })
    );
}

#[test]
fn a_fault_is_told_without_the_content() {
    let secret = br#"{"token":"a","token":"b"}"#;
    assert_eq!(
        check(secret).unwrap_err().to_string(),
        "duplicate key at byte 13"
    );
}

#[test]
fn half_a_surrogate_pair_is_no_text_but_may_be_passed_on() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800\ud800""#,
        r#""\ud800\n""#,
        r#""\ud800a""#,
    ] {
        assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        let mut reader = Reader::new(text.as_bytes(), 0).unwrap();
        let refused = Malformed {
            fault: Fault::BadString,
            offset: 1,
        };
        assert_eq!(reader.string(), Err(refused), "{text}");
        assert_eq!(reader.skip(), Err(refused), "{text}");
        assert_eq!(reader.finish(), Err(refused), "{text}");
    }
}

#[test]
fn strings_are_borrowed_unless_something_is_escaped() {
    let mut reader = Reader::new(r#"["plain é", "a\tb\u00e9\ud83d\ude00"]"#.as_bytes(), 1).unwrap();
    let mut seen = Vec::new();
    reader
        .array(|reader, index| {
            let text = reader.string()?;
            seen.push((index, matches!(text, Cow::Borrowed(_)), text.into_owned()));
            Ok(())
        })
        .unwrap();
    assert_eq!(
        seen,
        [
            (0, true, "plain é".to_owned()),
            (1, false, "a\tbé😀".to_owned())
        ]
    );
}

#[test]
fn depth_is_bounded_wherever_it_is_reached() {
    let nested = |depth: usize, open: &str, close: &str| {
        format!("{}0{}", open.repeat(depth), close.repeat(depth))
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
        let levels = open.matches(['[', '{']).count();
        let accepted = nested(usize::from(DEPTH_MAX) / levels, open, close);
        assert_eq!(check(accepted.as_bytes()), Ok(()));
        assert_eq!(check_visiting(accepted.as_bytes()), Ok(()));
        let refused = nested(usize::from(DEPTH_MAX) / levels + 1, open, close);
        let offset = open.len() * (usize::from(DEPTH_MAX) / levels);
        let fault = Err(Malformed {
            fault: Fault::TooDeep,
            offset,
        });
        assert_eq!(check(refused.as_bytes()), fault);
        assert_eq!(check_trusting(refused.as_bytes()), fault);
        assert_eq!(check_visiting(refused.as_bytes()), fault);
    }
    assert_eq!(
        Reader::new(b"[]", 0).unwrap().skip(),
        Err(Malformed {
            fault: Fault::TooDeep,
            offset: 0
        })
    );
    // Deep enough to overflow any stack if this recursed.
    let deep = nested(usize::from(u16::MAX), "[", "]");
    assert_eq!(
        Reader::new(deep.as_bytes(), u16::MAX).unwrap().skip(),
        Ok(())
    );
    let mixed = nested(usize::from(u16::MAX) / 2, r#"[{"a":"#, "}]");
    let mut reader = Reader::new(mixed.as_bytes(), u16::MAX).unwrap();
    assert_eq!(reader.raw().unwrap().text, mixed);
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn duplicates_are_found_in_objects_of_any_size() {
    for count in [1, 2, 15, 16, 17, 18, 40, 1_000] {
        let mut members = String::new();
        for index in 0..count {
            write!(members, r#""n{index}":{{"n0":{{}},"n{index}0":[]}},"#).unwrap();
        }
        let unique = format!(r#"{{{members}"last":0}}"#);
        assert_eq!(check(unique.as_bytes()), Ok(()), "{count}");
        for repeated in [0, count / 2, count - 1] {
            let document = format!(r#"{{{members}"\u006e{repeated}":0}}"#);
            let fault = Err(Malformed {
                fault: Fault::DuplicateKey,
                offset: members.len() + 1,
            });
            assert_eq!(check(document.as_bytes()), fault, "{count} {repeated}");
            assert_eq!(
                check_visiting(document.as_bytes()),
                fault,
                "{count} {repeated}"
            );
            assert_eq!(
                check_trusting(document.as_bytes()),
                Ok(()),
                "{count} {repeated}"
            );
        }
    }
}

#[test]
fn what_a_visitor_does_not_read_is_skipped_and_still_checked() {
    let document = br#"{"a": [1, {"b": 2}], "c": true, "d": {"e": null}}"#;
    let mut reader = Reader::new(document, 3).unwrap();
    let mut names = Vec::new();
    reader
        .object(|reader, name| {
            if name == "c" {
                assert_eq!(reader.kind(), Ok(Kind::Bool));
                assert!(reader.bool()?);
            }
            names.push(name.into_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(names, ["a", "c", "d"]);

    let mut reader = Reader::new(br#"{"a": [1,, 2]}"#, 3).unwrap();
    let fault = Malformed {
        fault: Fault::UnexpectedByte,
        offset: 9,
    };
    assert_eq!(reader.object(|_, _| Ok(())), Err(fault));
    assert_eq!(reader.finish(), Err(fault));
}

#[test]
fn a_visitor_cannot_read_more_than_its_value() {
    for document in [&b"[1 2]"[..], b"[1, 2]", b"[1]"] {
        let mut reader = Reader::new(document, 1).unwrap();
        let read = reader.array(|reader, _| {
            reader.skip()?;
            reader.skip()
        });
        assert!(
            matches!(
                read,
                Err(Malformed {
                    fault: Fault::UnexpectedByte,
                    ..
                })
            ),
            "{read:?}"
        );
    }
    let mut reader = Reader::new(b"1 2", 1).unwrap();
    assert_eq!(reader.u64(), Ok(1));
    assert_eq!(
        reader.u64(),
        Err(Malformed {
            fault: Fault::TrailingData,
            offset: 2
        })
    );
}

#[test]
fn a_visitor_cannot_hide_a_fault() {
    let mut reader = Reader::new(br#"{"a": {"b": [1,, 2]}, "c": 3}"#, 4).unwrap();
    let read = reader.object(|reader, _| {
        let _ = reader.object(|reader, _| {
            let _ = reader.skip();
            Ok(())
        });
        Ok(())
    });
    let fault = Malformed {
        fault: Fault::UnexpectedByte,
        offset: 15,
    };
    assert_eq!(read, Err(fault));
    assert_eq!(reader.finish(), Err(fault));
}

#[test]
fn a_value_of_another_type_can_be_read_another_way() {
    let mut reader = Reader::new(b" [1, \"a\", -3, 1.5, 18446744073709551616, true]", 1).unwrap();
    let wrong = |offset| Malformed {
        fault: Fault::WrongType,
        offset,
    };
    assert_eq!(reader.string(), Err(wrong(1)));
    assert_eq!(reader.object(|_, _| Ok(())), Err(wrong(1)));
    assert_eq!(reader.offset(), 1);
    let mut seen = Vec::new();
    reader
        .array(|reader, _| {
            let offset = reader.offset();
            match reader.u64() {
                Err(Malformed {
                    fault: Fault::WrongType,
                    offset: at,
                }) => assert_eq!(at, offset),
                Err(fault) => assert_eq!(
                    fault,
                    Malformed {
                        fault: Fault::OutOfRange,
                        offset
                    }
                ),
                Ok(number) => {
                    assert_eq!(number, 1);
                    return Ok(());
                }
            }
            seen.push(reader.raw()?.text.to_owned());
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, ["\"a\"", "-3", "1.5", "18446744073709551616", "true"]);
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn a_document_that_was_not_read_is_not_finished() {
    let finish = |text: &'static str| Reader::new(text.as_bytes(), 1).unwrap().finish();
    assert_eq!(
        finish(" "),
        Err(Malformed {
            fault: Fault::UnexpectedEnd,
            offset: 1
        })
    );
    assert_eq!(
        finish(" 1"),
        Err(Malformed {
            fault: Fault::TrailingData,
            offset: 1
        })
    );
}

#[test]
fn a_skimmed_value_can_be_looked_into_with_its_original_offsets() {
    let valid = r#"{"id": 7, "params": {"name": "a\u0062", "list": [1, 2]}}"#;
    let mut reader = Reader::new(valid.as_bytes(), 3).unwrap();
    let mut params = None;
    reader
        .object(|reader, name| {
            if name == "params" {
                params = Some(reader.raw()?);
            }
            Ok(())
        })
        .unwrap();
    let params = params.unwrap();
    assert_eq!(params.text, &valid[params.start..params.end]);
    let mut reader = Reader::again(params, 2);
    let mut spans = Vec::new();
    reader
        .object(|reader, _| {
            spans.push(reader.raw()?);
            Ok(())
        })
        .unwrap();
    for span in spans {
        assert_eq!(span.text, &valid[span.start..span.end]);
    }
    assert_eq!(reader.finish(), Ok(()));
    let mut reader = Reader::again(
        Raw {
            text: "[1,]",
            start: 10,
            end: 14,
        },
        2,
    );
    assert_eq!(
        reader.skip(),
        Err(Malformed {
            fault: Fault::UnexpectedByte,
            offset: 13
        })
    );
}

#[test]
fn the_kind_is_told_by_the_first_byte() {
    for (text, kind) in [
        (" {}", Some(Kind::Object)),
        ("[]", Some(Kind::Array)),
        ("\"\"", Some(Kind::String)),
        ("-1", Some(Kind::Number)),
        ("9", Some(Kind::Number)),
        ("\n\ttrue", Some(Kind::Bool)),
        ("false", Some(Kind::Bool)),
        ("null", Some(Kind::Null)),
        ("", None),
        (" ]", None),
    ] {
        assert_eq!(kind_of(text), kind, "{text}");
        assert_eq!(
            Reader::new(text.as_bytes(), 0).unwrap().kind().ok(),
            kind,
            "{text}"
        );
    }
}

#[test]
fn splice_leaves_out_edits_that_make_no_sense() {
    let original = b"0123456789";
    assert_eq!(splice(original, &[]), original);
    assert_eq!(
        splice(original, &[(2..4, b"xyz"), (4..4, b"+"), (9..10, b"")]),
        b"01xyz+45678"
    );
    assert_eq!(
        splice(original, &[(0..0, b"<"), (10..10, b">")]),
        b"<0123456789>"
    );
    #[allow(clippy::reversed_empty_ranges)]
    let nonsense: &[(std::ops::Range<usize>, &[u8])] = &[
        (4..2, b"a"),
        (3..5, b"-"),
        (4..6, b"b"),
        (0..1, b"c"),
        (8..11, b"d"),
        (99..100, b"e"),
    ];
    assert_eq!(splice(original, nonsense), b"012-56789");
}
