//! A strict JSON reader that borrows: one pass, no tree, and every value can be had as its own bytes.
//!
//! It exists because this portal judges a message and then forwards it. Whatever a reader tolerates
//! is a chance for two programs to understand one message differently, so the grammar is exactly that
//! of RFC 8259, and a name that one object uses twice is refused at every depth, however it is spelled
//! (RFC 8259 section 4 leaves open which of the two counts). What is only passed on is not copied:
//! [`Reader::raw`] gives the span, [`splice`] writes a document with some spans replaced.
//!
//! Time is linear in the input; only the names of an object with more than 16 members cost the
//! logarithm of their number. Nothing recurses but the caller's own visitors.
#![deny(clippy::arithmetic_side_effects)]
#![expect(
    clippy::inline_always,
    reason = "measured in wasm at opt-level s, which ignores plain hints: rows of small values take less than half"
)]

mod cursor;
mod fault;
mod names;
mod nesting;
mod skim;
#[cfg(test)]
mod tests;
pub(crate) mod words;
mod write;

use std::borrow::Cow;

use cursor::Cursor;
pub use fault::{Fault, Malformed};
use names::Names;
use nesting::Container;
pub use write::{escape_into, splice};

/// Reads one JSON document, front to back.
///
/// Every reading method wants exactly one value: the document itself, or inside a visitor the value of
/// that member or element. A [`Fault::WrongType`] or [`Fault::OutOfRange`] of a scalar leaves the
/// reader in front of that value, so it can be read another way; after any other fault, or any error
/// out of a visitor, the reader only repeats that error.
pub struct Reader<'a> {
    cursor: Cursor<'a>,
    depth: u16,
    depth_max: u16,
    /// A value is to be read here, and has not been yet.
    due: bool,
    /// None where duplicates are not looked for.
    names: Option<Names<'a>>,
    broken: Option<Malformed>,
}

/// The text of one value without the whitespace around it, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    /// The value as it was written.
    pub text: &'a str,
    /// Its first byte, counted from the beginning of the original document.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
}

/// What a value is, as its first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `-` or a digit
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl<'a> Reader<'a> {
    /// Reads a document that others also will read: duplicate keys are refused. At most `depth_max`
    /// objects and arrays may be open at once.
    ///
    /// # Errors
    /// `NotUtf8` at the first byte that is not, and `ByteOrderMark`.
    pub fn new(bytes: &'a [u8], depth_max: u16) -> Result<Self, Malformed> {
        let mut reader = Self::trusting(bytes, depth_max)?;
        reader.names = Some(Names::default());
        Ok(reader)
    }

    /// As [`Reader::new`], but does not look for duplicate keys: for results of servers, where the
    /// last reader decides anyway and time counts. All else is checked as well.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn trusting(bytes: &'a [u8], depth_max: u16) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(bytes).map_err(|error| Malformed {
            fault: Fault::NotUtf8,
            offset: error.valid_up_to(),
        })?;
        if text.starts_with('\u{feff}') {
            return Err(Malformed {
                fault: Fault::ByteOrderMark,
                offset: 0,
            });
        }
        Ok(Self::over(text, 0, depth_max))
    }

    /// Looks into a value that was skimmed with [`Reader::raw`] before. Spans and faults still count
    /// from the beginning of the original document. Neither UTF-8 nor duplicate keys are checked
    /// again: the reader that gave `raw` has done the one, and the other if it was to.
    #[must_use]
    pub fn again(raw: Raw<'a>, depth_max: u16) -> Self {
        Self::over(raw.text, raw.start, depth_max)
    }

    fn over(text: &'a str, base: usize, depth_max: u16) -> Self {
        let cursor = Cursor::new(text, base);
        Self {
            cursor,
            depth: 0,
            depth_max,
            due: true,
            names: None,
            broken: None,
        }
    }

    /// What comes next, without reading it. Only the first byte is looked at.
    ///
    /// # Errors
    /// `UnexpectedEnd` or `UnexpectedByte` where no value begins; `TrailingData` after the document.
    #[inline]
    pub fn kind(&mut self) -> Result<Kind, Malformed> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let next = self.cursor.peek_after_space();
        if !self.due {
            let at = self.cursor.at();
            return Err(match next {
                Some(_) if self.depth == 0 => self.cursor.fault(Fault::TrailingData, at),
                _ => self.cursor.unexpected(),
            });
        }
        next.and_then(kind_of_byte)
            .ok_or_else(|| self.cursor.unexpected())
    }

    /// Where the next value begins, counted from the beginning of the original document.
    pub fn offset(&mut self) -> usize {
        self.cursor.peek_after_space();
        self.cursor.original(self.cursor.at())
    }

    /// The text from `start`, where [`Reader::offset`] found a value begin, up to where the reader stands now: the whole
    /// of a value whose members were just visited.
    #[must_use]
    pub fn since(&self, start: usize) -> Option<Raw<'a>> {
        let at = start.checked_sub(self.cursor.original(0))?;
        let text = self.cursor.since(at);
        (!text.is_empty()).then(|| Raw {
            text,
            start,
            end: self.cursor.original(self.cursor.at()),
        })
    }

    /// Reads an object. `visit` gets each name, decoded, in the order of the document, and reads the
    /// value with the reader it is given; a value it does not read is skipped, and still checked.
    /// A duplicate key is found before it is visited.
    ///
    /// # Errors
    /// `WrongType` if it is none; `TooDeep`, `DuplicateKey`, what the grammar refuses, and whatever
    /// `visit` returns.
    pub fn object<F>(&mut self, mut visit: F) -> Result<(), Malformed>
    where
        F: FnMut(&mut Self, Cow<'a, str>) -> Result<(), Malformed>,
    {
        self.expect(Kind::Object)?;
        let read = self.members(&mut visit);
        self.settle(read)
    }

    fn members<F>(&mut self, visit: &mut F) -> Result<(), Malformed>
    where
        F: FnMut(&mut Self, Cow<'a, str>) -> Result<(), Malformed>,
    {
        self.enter(Container::Object)?;
        if self.cursor.peek_after_space() != Some(b'}') {
            loop {
                let name = self.name()?;
                self.colon()?;
                self.visit(|reader| visit(reader, name))?;
                match self.cursor.peek_after_space() {
                    Some(b',') => self.cursor.bump(),
                    Some(b'}') => break,
                    _ => return Err(self.cursor.unexpected()),
                }
            }
        }
        self.leave(Container::Object);
        Ok(())
    }

    /// Reads an array. `visit` gets each index and reads the element with the reader it is given; an
    /// element it does not read is skipped, and still checked.
    ///
    /// # Errors
    /// `WrongType` if it is none; `TooDeep`, what the grammar refuses, and whatever `visit` returns.
    pub fn array<F>(&mut self, mut visit: F) -> Result<(), Malformed>
    where
        F: FnMut(&mut Self, usize) -> Result<(), Malformed>,
    {
        self.expect(Kind::Array)?;
        let read = self.elements(&mut visit);
        self.settle(read)
    }

    fn elements<F>(&mut self, visit: &mut F) -> Result<(), Malformed>
    where
        F: FnMut(&mut Self, usize) -> Result<(), Malformed>,
    {
        self.enter(Container::Array)?;
        if self.cursor.peek_after_space() != Some(b']') {
            let mut index = 0_usize;
            loop {
                self.visit(|reader| visit(reader, index))?;
                index = index.saturating_add(1);
                match self.cursor.peek_after_space() {
                    Some(b',') => self.cursor.bump(),
                    Some(b']') => break,
                    _ => return Err(self.cursor.unexpected()),
                }
            }
        }
        self.leave(Container::Array);
        Ok(())
    }

    /// Lets a visitor read the one value that is due here, and skips it if the visitor did not.
    fn visit(
        &mut self,
        visit: impl FnOnce(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.due = true;
        visit(self)?;
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        if self.due {
            self.skip()?;
        }
        Ok(())
    }

    /// Reads a string: borrowed if nothing in it is escaped.
    ///
    /// # Errors
    /// `WrongType`, `BadString` (also for half of a surrogate pair, which no text can hold),
    /// `UnexpectedEnd`.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Malformed> {
        self.expect(Kind::String)?;
        let read = self.cursor.string();
        self.settle(read)
    }

    /// Reads any value and returns its text. It is checked completely but not decoded, so half of a
    /// surrogate pair in a string is left for whoever decodes that string; in the name of a member it
    /// is refused where duplicate keys are.
    ///
    /// # Errors
    /// `TooDeep`, `DuplicateKey` and what the grammar refuses.
    pub fn raw(&mut self) -> Result<Raw<'a>, Malformed> {
        self.kind()?;
        let start = self.cursor.at();
        let read = self.pass();
        self.settle(read)?;
        let (text, end) = (self.cursor.since(start), self.cursor.at());
        Ok(Raw {
            text,
            start: self.cursor.original(start),
            end: self.cursor.original(end),
        })
    }

    /// Reads any value and drops it; checks it as [`Reader::raw`] does.
    ///
    /// # Errors
    /// As [`Reader::raw`].
    pub fn skip(&mut self) -> Result<(), Malformed> {
        self.raw().map(drop)
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// `WrongType`, or what the grammar refuses.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        self.expect(Kind::Bool)?;
        let value = self.cursor.peek() == Some(b't');
        let read = self
            .cursor
            .skip_literal(if value { "true" } else { "false" });
        self.settle(read)?;
        Ok(value)
    }

    /// Reads a whole number that is written with digits only.
    ///
    /// # Errors
    /// `WrongType` for any other value, also for `-1`, `1.0` and `1e2`; `OutOfRange`; `BadNumber`.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.expect(Kind::Number)?;
        let start = self.cursor.at();
        let read = self.cursor.skip_number();
        self.settle(read)?;
        let text = self.cursor.since(start);
        let fault = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            if let Ok(number) = text.parse() {
                return Ok(number);
            }
            Fault::OutOfRange
        } else {
            Fault::WrongType
        };
        self.cursor.rewind(start);
        self.due = true;
        Err(self.cursor.fault(fault, start))
    }

    /// Ends the reading: only whitespace may be left.
    ///
    /// # Errors
    /// The error that ended the reading before; `UnexpectedEnd` or `UnexpectedByte` if no document
    /// came, `TrailingData` if more than one came or if it was not read.
    pub fn finish(mut self) -> Result<(), Malformed> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        match self.cursor.peek_after_space() {
            Some(_) => Err(self.cursor.fault(Fault::TrailingData, self.cursor.at())),
            None if self.due => Err(self.cursor.unexpected()),
            None => Ok(()),
        }
    }

    /// Goes on only if a value of this kind comes next, and leaves the cursor on its first byte.
    #[inline]
    fn expect(&mut self, kind: Kind) -> Result<(), Malformed> {
        if self.kind()? == kind {
            Ok(())
        } else {
            Err(self.cursor.fault(Fault::WrongType, self.cursor.at()))
        }
    }

    /// Notes that the value that was due has been read, or that nothing more can be.
    #[inline(always)]
    fn settle<T>(&mut self, read: Result<T, Malformed>) -> Result<T, Malformed> {
        self.due = false;
        read.map_err(|error| *self.broken.get_or_insert(error))
    }

    /// Reads the name of a member, and refuses it if the object has used it before.
    fn name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let Some(b'"') = self.cursor.peek_after_space() else {
            return Err(self.cursor.unexpected());
        };
        let start = self.cursor.at();
        let name = self.cursor.string()?;
        if let Some(names) = &mut self.names
            && !names.note(name.clone())
        {
            return Err(self.cursor.fault(Fault::DuplicateKey, start));
        }
        Ok(name)
    }

    #[inline(always)]
    fn colon(&mut self) -> Result<(), Malformed> {
        if self.cursor.peek_after_space() != Some(b':') {
            return Err(self.cursor.unexpected());
        }
        self.cursor.bump();
        Ok(())
    }

    /// Steps over an opening bracket.
    #[inline(always)]
    fn enter(&mut self, container: Container) -> Result<(), Malformed> {
        if self.depth >= self.depth_max {
            return Err(self.cursor.fault(Fault::TooDeep, self.cursor.at()));
        }
        self.depth = self.depth.saturating_add(1);
        if let (Some(names), Container::Object) = (&mut self.names, container) {
            names.open();
        }
        self.cursor.bump();
        Ok(())
    }

    /// Steps over a closing bracket.
    #[inline(always)]
    fn leave(&mut self, container: Container) {
        self.depth = self.depth.saturating_sub(1);
        if let (Some(names), Container::Object) = (&mut self.names, container) {
            names.close();
        }
        self.cursor.bump();
    }
}

/// What kind of value a text holds that [`Reader::raw`] has checked; None if no value begins there.
#[must_use]
pub fn kind_of(raw: &str) -> Option<Kind> {
    let first = raw
        .bytes()
        .find(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t'))?;
    kind_of_byte(first)
}

#[inline]
fn kind_of_byte(byte: u8) -> Option<Kind> {
    match byte {
        b'{' => Some(Kind::Object),
        b'[' => Some(Kind::Array),
        b'"' => Some(Kind::String),
        b'-' | b'0'..=b'9' => Some(Kind::Number),
        b't' | b'f' => Some(Kind::Bool),
        b'n' => Some(Kind::Null),
        _ => None,
    }
}
