//! The event streams of a legacy session: every event is a row before it is sent, so that a client that comes back
//! with `Last-Event-ID` misses nothing.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use futures::channel::mpsc::{Receiver, Sender, channel};

use super::session_rows::SessionRows;
use crate::mcp::event_stream::{Event, write_event};

/// The stream that belongs to no request: the client's GET.
pub(super) const STANDALONE: u64 = 0;

/// Frames that wait for a slow client. One that is slower still is cut off, and finds the rest by its last event id.
const FRAMES_MAX: usize = 256;

/// Messages that wait for a stream to be opened.
const UNDELIVERED_MAX: usize = 100;

/// The open streams.
#[derive(Default)]
pub(super) struct Streams {
    open: RefCell<HashMap<u64, Open>>,
    undelivered: RefCell<VecDeque<String>>,
}

struct Open {
    /// Nothing while the client is away.
    frames: Option<Sender<Vec<u8>>>,
    next_seq: u64,
}

impl Streams {
    /// Begins a stream and connects a client to it.
    pub(super) fn begin(&self, rows: &SessionRows, stream: u64) -> Receiver<Vec<u8>> {
        let (sender, receiver) = channel(FRAMES_MAX);
        let next_seq = rows.next_seq(stream);
        self.open.borrow_mut().insert(
            stream,
            Open {
                frames: Some(sender),
                next_seq,
            },
        );
        receiver
    }

    /// Opens a stream that was open before the object began anew; false where it is open.
    pub(super) fn reopen(&self, rows: &SessionRows, stream: u64) -> bool {
        let mut open = self.open.borrow_mut();
        if open.contains_key(&stream) {
            return false;
        }
        let next_seq = rows.next_seq(stream);
        let closed = Open {
            frames: None,
            next_seq,
        };
        open.insert(stream, closed);
        true
    }

    /// Connects a client that comes back after an event: first what it missed, then what follows, if anything may.
    pub(super) fn resume(
        &self,
        rows: &SessionRows,
        stream: u64,
        after_seq: u64,
    ) -> Receiver<Vec<u8>> {
        let missed = rows.events_after(stream, after_seq);
        let (mut sender, receiver) = channel(missed.len().saturating_add(FRAMES_MAX));
        for (seq, body) in missed {
            let _ = sender.try_send(frame(stream, seq, &body));
        }
        if let Some(open) = self.open.borrow_mut().get_mut(&stream) {
            open.frames = Some(sender);
        } else if stream == STANDALONE {
            let next_seq = rows.next_seq(stream);
            self.open.borrow_mut().insert(
                stream,
                Open {
                    frames: Some(sender),
                    next_seq,
                },
            );
        }
        receiver
    }

    /// Whether a client is connected to any stream.
    pub(super) fn has_listener(&self) -> bool {
        let open: Vec<u64> = self.open.borrow().keys().copied().collect();
        open.into_iter().any(|stream| self.is_connected(stream))
    }

    /// How many streams events still come on.
    pub(super) fn open(&self) -> usize {
        self.open.borrow().len()
    }

    /// Whether events still come on a stream.
    pub(super) fn is_open(&self, stream: u64) -> bool {
        self.open.borrow().contains_key(&stream)
    }

    /// Whether a client is connected to a stream.
    pub(super) fn is_connected(&self, stream: u64) -> bool {
        self.open
            .borrow()
            .get(&stream)
            .and_then(|open| open.frames.as_ref())
            .is_some_and(|frames| !frames.is_closed())
    }

    /// Writes an event and sends it to whoever is connected.
    pub(super) fn send(&self, rows: &SessionRows, stream: u64, body: &str) {
        let mut streams = self.open.borrow_mut();
        let Some(open) = streams.get_mut(&stream) else {
            return;
        };
        let seq = open.next_seq;
        open.next_seq = seq.saturating_add(1);
        rows.add_event(stream, seq, body);
        if let Some(frames) = &mut open.frames
            && frames.try_send(frame(stream, seq, body)).is_err()
        {
            open.frames = None;
        }
    }

    /// Sends a comment; tells whether somebody is there to get it.
    pub(super) fn keep_alive(&self, stream: u64) -> bool {
        let mut streams = self.open.borrow_mut();
        let Some(open) = streams.get_mut(&stream) else {
            return false;
        };
        let frames = open.frames.as_mut();
        let is_sent = frames.is_some_and(|frames| frames.try_send(b":\n\n".to_vec()).is_ok());
        if !is_sent {
            // Whoever reads none of them is not there.
            open.frames = None;
        }
        is_sent
    }

    /// Sends a message that belongs to no request: on the client's own stream, else on any other that is open, else
    /// when the next one opens.
    pub(super) fn send_anywhere(&self, rows: &SessionRows, body: &str) {
        let connected = if self.is_connected(STANDALONE) {
            Some(STANDALONE)
        } else {
            let open: Vec<u64> = self.open.borrow().keys().copied().collect();
            open.into_iter().find(|stream| self.is_connected(*stream))
        };
        if let Some(stream) = connected {
            self.send(rows, stream, body);
        } else {
            let mut undelivered = self.undelivered.borrow_mut();
            if undelivered.len() < UNDELIVERED_MAX {
                undelivered.push_back(body.to_owned());
            }
        }
    }

    /// Sends what waited for a stream.
    pub(super) fn deliver_waiting(&self, rows: &SessionRows, stream: u64) {
        let waiting: Vec<String> = self.undelivered.borrow_mut().drain(..).collect();
        for body in waiting {
            self.send(rows, stream, &body);
        }
    }

    /// Ends a stream.
    pub(super) fn end(&self, rows: &SessionRows, stream: u64) {
        self.open.borrow_mut().remove(&stream);
        rows.end_stream(stream);
    }

    /// Ends all of them.
    pub(super) fn end_all(&self) {
        self.open.borrow_mut().clear();
    }
}

/// One event as it is framed; an empty body is an event that only carries its id.
pub(super) fn frame(stream: u64, seq: u64, body: &str) -> Vec<u8> {
    let event = Event {
        id: Some(format!("{stream}-{seq}")),
        data: body.to_owned(),
        ..Event::default()
    };
    let mut out = Vec::with_capacity(body.len().saturating_add(32));
    write_event(&mut out, &event);
    out
}

/// Reads `Last-Event-ID`.
pub(super) fn parse_event_id(id: &str) -> Option<(u64, u64)> {
    let (stream, seq) = id.split_once('-')?;
    Some((stream.parse().ok()?, seq.parse().ok()?))
}
