//! Writing JSON: strings, and changed documents that keep every other byte.

use std::ops::Range;

use super::words;

/// Appends `text` as a JSON string with its quotes. Quotes, backslashes and control characters are
/// escaped, everything else is written as it is.
pub fn escape_into(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len().saturating_add(2));
    out.push(b'"');
    while let Some((plain, escaped)) = rest.split_at_checked(words::plain_length(rest)) {
        out.extend_from_slice(plain);
        let Some((&byte, after)) = escaped.split_first() else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0C => out.extend_from_slice(b"\\f"),
            _ => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                digit(byte >> 4),
                digit(byte & 15),
            ]),
        }
        rest = after;
    }
    out.push(b'"');
}

/// One hexadecimal digit.
fn digit(value: u8) -> u8 {
    if value < 10 {
        b'0'.wrapping_add(value)
    } else {
        b'a'.wrapping_sub(10).wrapping_add(value)
    }
}

/// Replaces parts of a document and copies the rest unchanged.
///
/// The edits must be sorted and must not overlap. One that lies outside of the document, begins
/// before the end of the one before, or ends before it begins is left out.
#[must_use]
pub fn splice(original: &[u8], edits: &[(Range<usize>, &[u8])]) -> Vec<u8> {
    let added = edits
        .iter()
        .fold(0_usize, |sum, (_, new)| sum.saturating_add(new.len()));
    let mut out = Vec::with_capacity(original.len().saturating_add(added));
    let mut copied = 0;
    for (range, new) in edits {
        if range.start > range.end || range.end > original.len() {
            continue;
        }
        // None where this edit begins before `copied`.
        let Some(kept) = original.get(copied..range.start) else {
            continue;
        };
        out.extend_from_slice(kept);
        out.extend_from_slice(new);
        copied = range.end;
    }
    out.extend_from_slice(original.get(copied..).unwrap_or_default());
    out
}
