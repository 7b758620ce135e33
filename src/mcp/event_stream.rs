//! Server-sent events in both directions, as the WHATWG HTML standard defines them (section 9.2).
//!
//! The reader takes bytes as they arrive and holds no more than one unfinished event. It differs from
//! a browser in three ways, all because MCP needs it: an event that has an id or a retry time but no
//! data is reported (a server sends one first, so that its client can come back), bytes that are not
//! UTF-8 are refused instead of replaced, and an event has a size limit.
#![deny(clippy::arithmetic_side_effects)]

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, error::Error, fmt, str};

use super::json::words;

const BYTE_ORDER_MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// One event, as its fields were given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The id this event set, if it did. An empty one says that there is nothing to come back to.
    pub id: Option<String>,
    /// Its name; none means `message`.
    pub event: Option<String>,
    /// Its data lines, joined by line feeds.
    pub data: String,
    /// How long to wait before coming back after the stream broke.
    pub retry_ms: Option<u64>,
}

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFault {
    /// The lines of one event have more bytes than the reader accepts.
    EventTooLarge {
        /// The number of bytes accepted.
        limit: usize,
    },
    /// A line that is not a comment is not UTF-8.
    NotUtf8,
}

impl fmt::Display for StreamFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventTooLarge { limit } => write!(out, "event larger than {limit} bytes"),
            Self::NotUtf8 => out.write_str("event stream is not UTF-8"),
        }
    }
}

impl Error for StreamFault {}

/// Reads a stream of events, however its bytes are cut.
///
/// Take the finished events after each [`EventReader::push`]; until then they are kept. An event whose
/// empty line has not come when the stream ends is no event, so there is nothing to call at the end.
pub struct EventReader {
    event_bytes_max: usize,
    /// Bytes of the lines of the unfinished event so far, without line ends and comments.
    event_bytes: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    place: Place,
    unfinished: Unfinished,
    finished: VecDeque<Event>,
    last_event_id: String,
    broken: Option<StreamFault>,
}

/// What the next byte of a stream may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The beginning, after this many bytes of a byte order mark.
    Start(usize),
    /// In a line, perhaps at its beginning.
    Line,
    /// In a comment, which is dropped as it comes.
    Comment,
    /// After a carriage return: a line feed belongs to it.
    CarriageReturn,
}

/// The fields of an event whose empty line has not come.
#[derive(Default)]
struct Unfinished {
    event: Event,
    has_data: bool,
}

impl EventReader {
    /// Accepts events whose lines have up to `event_bytes_max` bytes together, field names included,
    /// line ends and comments not. The reader keeps no more than that of an unfinished event.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            event_bytes: 0,
            line: Vec::new(),
            place: Place::Start(0),
            unfinished: Unfinished::default(),
            finished: VecDeque::new(),
            last_event_id: String::new(),
            broken: None,
        }
    }

    /// Takes the bytes that arrived. The work is linear in their number, also if they come one by one.
    ///
    /// # Errors
    /// A fault ends the stream: it is returned again for whatever follows. Events that were finished
    /// before it can still be taken.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), StreamFault> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let read = self.read(chunk);
        self.broken = read.err();
        read
    }

    /// The oldest finished event that has not been taken.
    pub fn next_event(&mut self) -> Option<Event> {
        let event = self.finished.pop_front()?;
        if let Some(id) = &event.id {
            self.last_event_id.clone_from(id);
        }
        Some(event)
    }

    /// The id to come back with: the last one among the events that [`EventReader::next_event`] gave,
    /// so that none is lost that was read but not taken. None if no event had one, or if the last one
    /// was empty.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        Some(self.last_event_id.as_str()).filter(|id| !id.is_empty())
    }

    fn read(&mut self, chunk: &[u8]) -> Result<(), StreamFault> {
        let mut rest = chunk;
        while let Some((&first, after)) = rest.split_first() {
            match self.place {
                Place::Start(matched) => match BYTE_ORDER_MARK.get(matched) {
                    Some(&expected) if expected == first => {
                        self.place = Place::Start(matched.saturating_add(1));
                        rest = after;
                    }
                    Some(_) => {
                        // Not a whole mark: what looked like one was the beginning of the first line.
                        self.place = Place::Line;
                        self.hold(BYTE_ORDER_MARK.get(..matched).unwrap_or_default())?;
                    }
                    None => self.place = Place::Line,
                },
                Place::CarriageReturn => {
                    self.place = Place::Line;
                    if first == b'\n' {
                        rest = after;
                    }
                }
                Place::Line if first == b':' && self.line.is_empty() => self.place = Place::Comment,
                Place::Line | Place::Comment => rest = self.read_line(rest)?,
            }
        }
        Ok(())
    }

    /// Reads up to the end of the line or of `bytes`, and returns what comes after.
    fn read_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], StreamFault> {
        let (part, rest) = bytes
            .split_at_checked(words::line_length(bytes))
            .unwrap_or((bytes, &[]));
        let in_comment = self.place == Place::Comment;
        let Some((&end, after)) = rest.split_first() else {
            if !in_comment {
                self.hold(part)?;
            }
            return Ok(rest);
        };
        self.place = if end == b'\r' {
            Place::CarriageReturn
        } else {
            Place::Line
        };
        if !in_comment {
            self.end_line(part)?;
        }
        Ok(after)
    }

    fn count(&mut self, part: &[u8]) -> Result<(), StreamFault> {
        self.event_bytes = self.event_bytes.saturating_add(part.len());
        if self.event_bytes > self.event_bytes_max {
            return Err(StreamFault::EventTooLarge {
                limit: self.event_bytes_max,
            });
        }
        Ok(())
    }

    /// Keeps a part of a line until the rest of it comes.
    fn hold(&mut self, part: &[u8]) -> Result<(), StreamFault> {
        self.count(part)?;
        self.line.extend_from_slice(part);
        Ok(())
    }

    /// Ends a line with its last part; most lines come in one part and are not copied before they
    /// are understood.
    fn end_line(&mut self, part: &[u8]) -> Result<(), StreamFault> {
        if self.line.is_empty() {
            self.count(part)?;
            return self.interpret(part);
        }
        self.hold(part)?;
        let mut line = std::mem::take(&mut self.line);
        self.interpret(&line)?;
        // Keeps the allocation for the next line that comes in parts.
        line.clear();
        self.line = line;
        Ok(())
    }

    fn interpret(&mut self, line: &[u8]) -> Result<(), StreamFault> {
        if line.is_empty() {
            self.event_bytes = 0;
            let Unfinished { event, has_data } = std::mem::take(&mut self.unfinished);
            if has_data || event.id.is_some() || event.retry_ms.is_some() {
                self.finished.push_back(event);
            }
            return Ok(());
        }
        let line = str::from_utf8(line).map_err(|_| StreamFault::NotUtf8)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        self.unfinished
            .set(field, value.strip_prefix(' ').unwrap_or(value));
        Ok(())
    }
}

impl Unfinished {
    fn set(&mut self, field: &str, value: &str) {
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            "event" => self.event.event = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            // `parse` alone would accept a sign. A time too long for a `u64` is no time to wait.
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.event.retry_ms = value.parse().ok().or(self.event.retry_ms);
            }
            _ => {}
        }
    }
}

/// Appends an event, with its empty line.
///
/// Data that has line ends is written as one `data` line each, so they come out as line feeds. Line
/// ends in the id and the name, and NUL in the id, are left out: there they would end the field, or
/// make a reader ignore it. A retry time alone is written without data, so that browsers and clients
/// do not see an empty message; every other event has a data line, even if it is empty.
pub fn write_event(out: &mut Vec<u8>, event: &Event) {
    if let Some(id) = &event.id {
        write_field(out, "id", id.split(['\n', '\r', '\0']));
    }
    if let Some(name) = event.event.as_deref().filter(|name| !name.is_empty()) {
        write_field(out, "event", name.split(['\n', '\r']));
    }
    if let Some(retry_ms) = event.retry_ms {
        write_field(out, "retry", [retry_ms.to_string().as_str()]);
    }
    let retry_alone = event.retry_ms.is_some() && event.id.is_none() && event.event.is_none();
    if !event.data.is_empty() || !retry_alone {
        write_data(out, &event.data);
    }
    out.push(b'\n');
}

fn write_data(out: &mut Vec<u8>, data: &str) {
    let mut rest = data.as_bytes();
    loop {
        let (line, end) = rest
            .split_at_checked(words::line_length(rest))
            .unwrap_or((rest, &[]));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        match end {
            [b'\r', b'\n', after @ ..] | [_, after @ ..] => rest = after,
            [] => return,
        }
    }
}

fn write_field<'v>(out: &mut Vec<u8>, field: &str, parts: impl IntoIterator<Item = &'v str>) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'\n');
}
