//! What can be wrong with a document.

use std::{error::Error, fmt};

/// Why a document was refused, and where. Its text never holds any of the document's content, so it
/// may be logged and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The rule that was broken.
    pub fault: Fault,
    /// The byte at which it shows, counted from the beginning of the original document.
    pub offset: usize,
}

/// The rules a document can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are not UTF-8 (RFC 8259 section 8.1).
    NotUtf8,
    /// It begins with a byte order mark, which section 8.1 forbids to write.
    ByteOrderMark,
    /// It ends within a value, or where one should begin.
    UnexpectedEnd,
    /// The grammar does not allow this byte here.
    UnexpectedByte,
    /// More objects and arrays are open at once than the reader was told to accept.
    TooDeep,
    /// An object uses a name twice.
    DuplicateKey,
    /// A string holds a control character, an unknown escape or half of a surrogate pair.
    BadString,
    /// A number does not follow the grammar.
    BadNumber,
    /// Something other than whitespace follows the document.
    TrailingData,
    /// The value is well-formed, but not of the kind that was asked for.
    WrongType,
    /// The number is a whole one, but larger than a `u64` holds.
    OutOfRange,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at byte {}", self.fault, self.offset)
    }
}

impl Error for Malformed {}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NotUtf8 => "not UTF-8",
            Self::ByteOrderMark => "byte order mark",
            Self::UnexpectedEnd => "unexpected end",
            Self::UnexpectedByte => "unexpected byte",
            Self::TooDeep => "nested too deeply",
            Self::DuplicateKey => "duplicate key",
            Self::BadString => "malformed string",
            Self::BadNumber => "malformed number",
            Self::TrailingData => "data after the document",
            Self::WrongType => "value of the wrong type",
            Self::OutOfRange => "number out of range",
        })
    }
}
