//! How MCP carries a value of a message's body in an HTTP header: revision 2026-07-28, Streamable
//! HTTP, "Value Encoding".
//!
//! A value that a header can carry is written as it is. Any other, and one that could be mistaken for
//! an encoded one, is written as `=?base64?` + Base64 of its UTF-8 + `?=`.
#![deny(clippy::arithmetic_side_effects)]

use std::{borrow::Cow, error::Error, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// Why a header's value says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeaderValue {
    /// It holds something other than visible ASCII, space and tab (RFC 9110 section 5.5).
    InvalidCharacter,
    /// It is marked as Base64, but what is between the marks is not, with its padding.
    NotBase64,
    /// What it encodes is not UTF-8.
    NotUtf8,
}

impl fmt::Display for BadHeaderValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::InvalidCharacter => "header value holds a character that headers cannot carry",
            Self::NotBase64 => "header value is marked as Base64 but is not",
            Self::NotUtf8 => "header value is Base64 of something that is not UTF-8",
        })
    }
}

impl Error for BadHeaderValue {}

/// Writes a value for a header: borrowed if the header can carry it as it is.
#[must_use]
pub fn encode(value: &str) -> Cow<'_, str> {
    let padded = value.starts_with([' ', '\t']) || value.ends_with([' ', '\t']);
    if is_printable(value) && !padded && !is_marked(value) {
        return Cow::Borrowed(value);
    }
    let mut encoded = String::from(PREFIX);
    STANDARD.encode_string(value, &mut encoded);
    encoded.push_str(SUFFIX);
    Cow::Owned(encoded)
}

/// Reads what [`encode`] wrote: borrowed if it is not encoded. Space and tab around it are not part
/// of a header's value, so they are dropped, as HTTP does. The marks are case-sensitive: with other
/// letters they are a plain value.
///
/// # Errors
/// A value that no client may send. It must be refused with `HeaderMismatch`, not ignored: whoever
/// routed by that header may have read it differently.
pub fn decode(header: &str) -> Result<Cow<'_, str>, BadHeaderValue> {
    let header = header.trim_matches([' ', '\t']);
    if !is_printable(header) {
        return Err(BadHeaderValue::InvalidCharacter);
    }
    if !is_marked(header) {
        return Ok(Cow::Borrowed(header));
    }
    // Fails for `=?base64?=`, whose marks share their question mark: it carries nothing, and plain it
    // would have had to be encoded.
    let encoded = header
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    let bytes = STANDARD
        .decode(encoded.ok_or(BadHeaderValue::NotBase64)?)
        .map_err(|_| BadHeaderValue::NotBase64)?;
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| BadHeaderValue::NotUtf8)
}

/// Whether two JSON numbers are equal, however they are written: `42.0` is `42`, and `1e2` is `100`.
/// They are compared as decimals, digit by digit, so no precision is lost and none is invented. False
/// if one of them is not a JSON number, or has an exponent beyond any use (an `i64`).
#[must_use]
pub fn same_number(a: &str, b: &str) -> bool {
    match (Decimal::read(a), Decimal::read(b)) {
        (Some(a), Some(b)) => a.equals(&b),
        _ => false,
    }
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

fn is_marked(text: &str) -> bool {
    text.starts_with(PREFIX) && text.ends_with(SUFFIX)
}

/// `0.d1d2d3... * 10^point`, where `d1d2d3...` are the digits of `whole` and then of `fraction`, from
/// the first that is not zero. Zero has neither.
struct Decimal<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    point: i64,
}

impl<'t> Decimal<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, read_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) if is_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (digits, ""),
        };
        if !is_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let significant = if whole.is_empty() {
            fraction.trim_start_matches('0')
        } else {
            fraction
        };
        if whole.is_empty() && significant.is_empty() {
            // Minus zero is zero.
            return Some(Self {
                negative: false,
                whole,
                fraction: significant,
                point: 0,
            });
        }
        let zeros = fraction.len().checked_sub(significant.len())?;
        let shift = i64::try_from(whole.len())
            .ok()?
            .checked_sub(i64::try_from(zeros).ok()?)?;
        Some(Self {
            negative: unsigned.len() != text.len(),
            whole,
            fraction: significant,
            point: exponent.checked_add(shift)?,
        })
    }

    fn equals(&self, other: &Self) -> bool {
        let mut ours = self.digits();
        let mut theirs = other.digits();
        self.negative == other.negative
            && self.point == other.point
            && loop {
                match (ours.next(), theirs.next()) {
                    (None, None) => break true,
                    // The shorter one goes on with zeros.
                    (a, b) if a.unwrap_or(b'0') != b.unwrap_or(b'0') => break false,
                    _ => {}
                }
            }
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes())
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    // `parse` takes the sign; what is left must be digits, not a second sign.
    if is_digits(digits) {
        text.parse().ok()
    } else {
        None
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_specification_examples() {
        for (value, header) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode(value), header);
            assert_eq!(decode(header).unwrap(), value);
        }
    }

    #[test]
    fn plain_values_stay_plain_and_borrowed() {
        for value in [
            "",
            "a",
            "a b\tc",
            "~!",
            "=?base64?abc",
            "abc?=",
            "=?BASE64?YQ==?=",
            "true",
            "-7",
        ] {
            assert!(matches!(encode(value), Cow::Borrowed(_)), "{value}");
            assert!(
                matches!(decode(value), Ok(Cow::Borrowed(plain)) if plain == value),
                "{value}"
            );
        }
    }

    #[test]
    fn values_a_header_cannot_carry_are_encoded() {
        for value in [
            "\t",
            " a",
            "a ",
            "a\t",
            "a\r\nX: y",
            "\0",
            "\u{7f}",
            "é",
            "=?base64?=",
            "=?base64??=",
        ] {
            assert!(encode(value).starts_with(PREFIX), "{value:?}");
        }
    }

    #[test]
    fn space_around_a_header_is_not_its_value() {
        assert_eq!(decode(" \tus-west1 ").unwrap(), "us-west1");
        assert_eq!(decode(" =?base64?YQ==?= ").unwrap(), "a");
        assert_eq!(decode("=?base64??=").unwrap(), "");
    }

    #[test]
    fn what_no_client_may_send_is_refused() {
        for (header, fault) in [
            ("é", BadHeaderValue::InvalidCharacter),
            ("a\nb", BadHeaderValue::InvalidCharacter),
            ("a\u{7f}", BadHeaderValue::InvalidCharacter),
            ("=?base64?=", BadHeaderValue::NotBase64),
            ("=?base64?YQ=?=", BadHeaderValue::NotBase64),
            ("=?base64?YQ?=", BadHeaderValue::NotBase64),
            ("=?base64?YR==?=", BadHeaderValue::NotBase64),
            ("=?base64?Y Q==?=", BadHeaderValue::NotBase64),
            ("=?base64?-_-_?=", BadHeaderValue::NotBase64),
            ("=?base64?/w==?=", BadHeaderValue::NotUtf8),
        ] {
            assert_eq!(decode(header), Err(fault), "{header:?}");
        }
    }

    #[test]
    fn numbers_are_compared_by_value() {
        for (a, b) in [
            ("42", "42.0"),
            ("42", "42"),
            ("-7", "-7.000"),
            ("0", "-0.0e5"),
            ("1e2", "100"),
            ("100", "1.00E+2"),
            ("0.001", "1e-3"),
            ("12.5", "125e-1"),
            ("9007199254740993", "9007199254740993.0"),
            ("1e400", "10e399"),
        ] {
            assert!(same_number(a, b), "{a} {b}");
            assert!(same_number(b, a), "{b} {a}");
        }
        for (a, b) in [
            ("42", "43"),
            ("42", "-42"),
            ("42", "420"),
            ("42", "4.2"),
            ("42", "042"),
            ("42", "+42"),
            ("42", "42."),
            ("42", " 42"),
            ("0.1", ".1"),
            ("1e2", "1e+-2"),
            ("1e2", "1e"),
            ("", ""),
            ("true", "true"),
            ("9007199254740993", "9007199254740992"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(!same_number(a, b), "{a} {b}");
            assert!(!same_number(b, a), "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in any::<String>()) {
            let header = encode(&value);
            prop_assert!(is_printable(&header));
            prop_assert_eq!(decode(&header).unwrap(), value.as_str());
        }

        #[test]
        fn values_made_of_the_marks_come_back(value in "(=|\\?|base64| |\t|a|=\\?base64\\?|\\?=){0,8}") {
            let header = encode(&value);
            prop_assert_eq!(decode(&header).unwrap(), value.as_str());
        }

        #[test]
        fn anything_can_be_decoded_or_refused(header in any::<String>()) {
            let _ = decode(&header);
            let _ = same_number(&header, "1");
        }

        #[test]
        fn moving_the_point_keeps_the_number(number in any::<i64>(), shift in 0..30_usize) {
            let plain = number.to_string();
            let zeros = "0".repeat(shift);
            let moved = format!("{number}{zeros}.0e-{shift}");
            prop_assume!(number != 0);
            prop_assert!(same_number(&plain, &moved), "{} {}", plain, moved);
            let more = number.wrapping_add(1);
            prop_assert!(!same_number(&more.to_string(), &moved));
        }
    }
}
