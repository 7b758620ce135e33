//! The lexical part of the JSON reader: strings, numbers, literals and whitespace of RFC 8259.

use std::borrow::Cow;

use super::{Fault, Malformed, words};

/// A position in a text, and the rules for what may stand there. Offsets in faults count from the
/// beginning of the original document, so a cursor over a part of it carries where that part began.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    base: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`, which stood at byte `base` of the original document.
    pub(super) fn new(text: &'a str, base: usize) -> Self {
        Self { text, at: 0, base }
    }

    /// Where the cursor stands, within its own text.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes back to a place that [`Cursor::at`] gave.
    pub(super) fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    /// A place of this text as a place of the original document.
    #[inline]
    pub(super) fn original(&self, at: usize) -> usize {
        self.base.saturating_add(at)
    }

    /// A fault at a place of this text.
    #[cold]
    pub(super) fn fault(&self, fault: Fault, at: usize) -> Malformed {
        Malformed {
            fault,
            offset: self.original(at),
        }
    }

    /// The fault of finding here something the grammar does not allow, or nothing at all.
    #[cold]
    pub(super) fn unexpected(&self) -> Malformed {
        let fault = if self.peek().is_some() {
            Fault::UnexpectedByte
        } else {
            Fault::UnexpectedEnd
        };
        self.fault(fault, self.at)
    }

    /// The byte here, if the text has not ended.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over one byte that [`Cursor::peek`] has shown.
    #[inline(always)]
    pub(super) fn bump(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    /// Steps over whitespace and shows the byte after it.
    #[inline(always)]
    pub(super) fn peek_after_space(&mut self) -> Option<u8> {
        loop {
            let byte = self.peek();
            match byte {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.bump(),
                _ => return byte,
            }
        }
    }

    /// The text from `start` up to here. Empty if that is not a part of the text, which cannot
    /// happen with a place that [`Cursor::at`] gave.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Steps over a string without decoding it. The cursor stands on the opening quote.
    ///
    /// # Errors
    /// `BadString` at a control character or at an escape the grammar does not know;
    /// `UnexpectedEnd` when the closing quote is missing.
    #[inline(always)]
    pub(super) fn skip_string(&mut self) -> Result<(), Malformed> {
        self.bump();
        loop {
            match self.run_of_plain_text()? {
                b'"' => {
                    self.bump();
                    return Ok(());
                }
                _ => self.skip_escape()?,
            }
        }
    }

    /// Reads a string, borrowed when nothing in it is escaped. The cursor stands on the opening quote.
    ///
    /// # Errors
    /// As [`Cursor::skip_string`], and `BadString` at half of a surrogate pair.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.bump();
        let start = self.at;
        if self.run_of_plain_text()? == b'"' {
            let text = self.since(start);
            self.bump();
            return Ok(Cow::Borrowed(text));
        }
        self.decode(start).map(Cow::Owned)
    }

    /// The rest of [`Cursor::string`], from its first escape on.
    fn decode(&mut self, start: usize) -> Result<String, Malformed> {
        let mut decoded = String::from(self.since(start));
        loop {
            let start = self.at;
            let stop = self.run_of_plain_text()?;
            decoded.push_str(self.since(start));
            if stop == b'"' {
                self.bump();
                return Ok(decoded);
            }
            decoded.push(self.escape()?);
        }
    }

    /// Steps over text that stands for itself, up to the quote or backslash that it returns.
    #[inline(always)]
    fn run_of_plain_text(&mut self) -> Result<u8, Malformed> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at = self.at.saturating_add(words::plain_length(rest));
        match self.peek() {
            Some(byte @ (b'"' | b'\\')) => Ok(byte),
            Some(_) => Err(self.fault(Fault::BadString, self.at)),
            None => Err(self.fault(Fault::UnexpectedEnd, self.at)),
        }
    }

    /// Steps over one escape, without asking whether surrogates come in pairs.
    #[inline(always)]
    fn skip_escape(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        self.bump();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.bump();
                Ok(())
            }
            Some(b'u') => {
                self.bump();
                self.four_digits(start).map(drop)
            }
            Some(_) => Err(self.fault(Fault::BadString, start)),
            None => Err(self.unexpected()),
        }
    }

    /// Reads one escape, two where a surrogate pair makes one character.
    fn escape(&mut self) -> Result<char, Malformed> {
        let start = self.at;
        self.bump();
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.bump();
                return self.code_point(start);
            }
            Some(_) => return Err(self.fault(Fault::BadString, start)),
            None => return Err(self.unexpected()),
        };
        self.bump();
        Ok(plain)
    }

    /// The character of a `\u` escape, whose digits follow here.
    fn code_point(&mut self, start: usize) -> Result<char, Malformed> {
        let mut units = [self.four_digits(start)?, 0];
        let mut count = 1;
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if (0xD800..0xDC00).contains(&units[0]) && rest.starts_with(b"\\u") {
            self.bump();
            self.bump();
            units[1] = self.four_digits(start)?;
            count = 2;
        }
        // One unit that is not a surrogate, or two that are a pair: anything else is not one character.
        let mut characters = char::decode_utf16(units.into_iter().take(count));
        match (characters.next(), characters.next()) {
            (Some(Ok(character)), None) => Ok(character),
            _ => Err(self.fault(Fault::BadString, start)),
        }
    }

    /// Reads four hexadecimal digits; a fault is reported at the `start` of their escape.
    fn four_digits(&mut self, start: usize) -> Result<u16, Malformed> {
        let mut unit = 0_u16;
        for _ in 0..4 {
            let digit = match self.peek() {
                Some(byte @ b'0'..=b'9') => byte.wrapping_sub(b'0'),
                Some(byte @ b'a'..=b'f') => byte.wrapping_sub(b'a').wrapping_add(10),
                Some(byte @ b'A'..=b'F') => byte.wrapping_sub(b'A').wrapping_add(10),
                Some(_) => return Err(self.fault(Fault::BadString, start)),
                None => return Err(self.unexpected()),
            };
            unit = (unit << 4) | u16::from(digit);
            self.bump();
        }
        Ok(unit)
    }

    /// Steps over a number. The cursor stands on its minus sign or first digit.
    ///
    /// # Errors
    /// `BadNumber`, at the byte that should have been a digit, or at the one that must not be.
    pub(super) fn skip_number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.bump();
        }
        if self.peek() == Some(b'0') {
            self.bump();
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.fault(Fault::BadNumber, self.at));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.bump();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.bump();
            if let Some(b'+' | b'-') = self.peek() {
                self.bump();
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Steps over digits, of which there must be one at least.
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.bump();
        }
        if self.at == start {
            return Err(self.fault(Fault::BadNumber, start));
        }
        Ok(())
    }

    /// Steps over `true`, `false` or `null`.
    ///
    /// # Errors
    /// `UnexpectedByte` at the first byte that differs, `UnexpectedEnd` when the text ends within.
    pub(super) fn skip_literal(&mut self, literal: &str) -> Result<(), Malformed> {
        for expected in literal.bytes() {
            if self.peek() != Some(expected) {
                return Err(self.unexpected());
            }
            self.bump();
        }
        Ok(())
    }
}
