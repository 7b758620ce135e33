//! The reader against the standard's rules, and against itself on other cuts of the same bytes.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test may panic"
)]

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 16;

fn take(reader: &mut EventReader) -> Vec<Event> {
    std::iter::from_fn(|| reader.next_event()).collect()
}

fn read(bytes: &[u8]) -> Vec<Event> {
    let mut reader = EventReader::new(LIMIT);
    reader.push(bytes).unwrap();
    take(&mut reader)
}

fn data(text: &str) -> Event {
    Event {
        data: text.to_owned(),
        ..Event::default()
    }
}

#[test]
fn events_are_read_as_the_standard_says() {
    for (stream, expected) in [
        ("", vec![]),
        ("data: a\n\n", vec![data("a")]),
        ("data:a\n\n", vec![data("a")]),
        ("data:  a\n\n", vec![data(" a")]),
        ("data: a\r\n\r\n", vec![data("a")]),
        ("data: a\r\r", vec![data("a")]),
        ("data: a\n\r\ndata: b\r\n\n", vec![data("a"), data("b")]),
        ("data: a\ndata: b\n\n", vec![data("a\nb")]),
        ("data\ndata\n\n", vec![data("\n")]),
        ("data\n\n", vec![data("")]),
        ("data:\n\n\n\ndata: \n\n", vec![data(""), data("")]),
        (": comment\n\n:\n\n", vec![]),
        ("data: a\n: between\ndata: b\n\n", vec![data("a\nb")]),
        ("event: x\n\n", vec![]),
        ("event: x\n\ndata: a\n\n", vec![data("a")]),
        ("event: x\nevent:\ndata: a\n\n", vec![data("a")]),
        ("unknown: x\nDATA: x\n data: x\ndata : x\n\n", vec![]),
        ("data: a", vec![]),
        ("data: a\n", vec![]),
        ("data: a\n\ndata: unfinished\n", vec![data("a")]),
        ("\u{feff}data: a\n\n", vec![data("a")]),
        ("\u{feff}: comment\ndata: a\n\n", vec![data("a")]),
        ("\u{feff}\u{feff}data: a\n\n", vec![]),
        ("data: a\n\n\u{feff}data: b\n\n", vec![data("a")]),
        (
            "retry: 1x\n\nretry: -1\n\nretry: +1\n\nretry:\n\nretry: 99999999999999999999\n\n",
            vec![],
        ),
        (
            ": a:b\ndata: {\"a\":\"b: c\"}\n\n",
            vec![data("{\"a\":\"b: c\"}")],
        ),
        ("data: é世😀\n\n", vec![data("é世😀")]),
    ] {
        assert_eq!(read(stream.as_bytes()), expected, "{stream:?}");
    }
}

#[test]
fn all_fields_are_reported() {
    let events = read(b"id: 1\nevent: message\nretry: 250\ndata: a\n\nid\ndata: b\n\n");
    let first = Event {
        id: Some("1".to_owned()),
        event: Some("message".to_owned()),
        data: "a".to_owned(),
        retry_ms: Some(250),
    };
    let second = Event {
        id: Some(String::new()),
        ..data("b")
    };
    assert_eq!(events, [first, second]);
}

#[test]
fn an_event_with_only_an_id_or_a_retry_time_is_reported() {
    let id = Event {
        id: Some("7".to_owned()),
        ..Event::default()
    };
    assert_eq!(read(b"id: 7\ndata:\n\nid: 7\n\n"), [id.clone(), id]);
    assert_eq!(
        read(b"retry: 10\n\n"),
        [Event {
            retry_ms: Some(10),
            ..Event::default()
        }]
    );
}

#[test]
fn an_id_with_nul_is_ignored() {
    assert_eq!(
        read(b"id: 1\nid: a\0b\ndata: a\n\n"),
        [Event {
            id: Some("1".to_owned()),
            ..data("a")
        }]
    );
    assert_eq!(read(b"id: a\0b\n\n"), []);
}

#[test]
fn the_last_event_id_is_that_of_the_last_event_taken() {
    let mut reader = EventReader::new(LIMIT);
    assert_eq!(reader.last_event_id(), None);
    reader
        .push(b"id: 1\n\ndata: a\n\nid: 2\ndata: b\n\nid\ndata: c\n\nid: 3\n")
        .unwrap();
    for expected in [Some("1"), Some("1"), Some("2"), None] {
        assert!(reader.next_event().is_some());
        assert_eq!(reader.last_event_id(), expected);
    }
    assert!(reader.next_event().is_none());
    reader.push(b"\n").unwrap();
    assert_eq!(reader.last_event_id(), None);
    assert!(reader.next_event().is_some());
    assert_eq!(reader.last_event_id(), Some("3"));
}

#[test]
fn a_carriage_return_ends_an_event_without_waiting_for_a_line_feed() {
    let mut reader = EventReader::new(LIMIT);
    reader.push(b"data: a\r\n\r").unwrap();
    assert_eq!(take(&mut reader), [data("a")]);
    reader.push(b"\ndata: b\r").unwrap();
    reader.push(b"\n").unwrap();
    assert_eq!(take(&mut reader), []);
    reader.push(b"\r\n").unwrap();
    assert_eq!(take(&mut reader), [data("b")]);
}

#[test]
fn bytes_that_are_not_utf_8_end_the_stream() {
    for stream in [
        &b"data: a\n\ndata: \xff\n"[..],
        b"data: a\n\n\xff\n",
        b"data: a\n\nid: \xe4\xb8\ndata: \x96\n\n",
    ] {
        let mut reader = EventReader::new(LIMIT);
        assert_eq!(reader.push(stream), Err(StreamFault::NotUtf8));
        assert_eq!(reader.push(b"data: b\n\n"), Err(StreamFault::NotUtf8));
        assert_eq!(take(&mut reader), [data("a")]);
    }
    let mut reader = EventReader::new(LIMIT);
    assert_eq!(
        reader.push(b"\xef\xbbdata: a\n\n"),
        Err(StreamFault::NotUtf8)
    );
}

#[test]
fn the_limit_is_exact_for_any_cut() {
    // 10 + 5 + 8 bytes of lines; line ends, comments and the event before do not count.
    let stream =
        b"data: before\n\n: comment comment comment\ndata: 0123\r\nid: 1\r\n: more\nunknown!\n\n";
    let counted = 10 + 5 + 8;
    for size in 1..=stream.len() {
        let push = |limit: usize| {
            let mut reader = EventReader::new(limit);
            let pushed = stream.chunks(size).try_for_each(|chunk| reader.push(chunk));
            (pushed, take(&mut reader).len())
        };
        assert_eq!(push(counted), (Ok(()), 2), "cut by {size}");
        let limit = counted - 1;
        assert_eq!(
            push(limit),
            (Err(StreamFault::EventTooLarge { limit }), 1),
            "cut by {size}"
        );
    }
}

#[test]
fn an_endless_line_is_refused_and_an_endless_comment_dropped() {
    let mut reader = EventReader::new(100);
    reader.push(b":").unwrap();
    for _ in 0..1_000 {
        reader.push(b" still here").unwrap();
    }
    assert_eq!(reader.line.capacity(), 0);
    reader.push(b"\nx").unwrap();
    let mut pushed = 1;
    let fault = loop {
        match reader.push(b"x") {
            Ok(()) => pushed += 1,
            Err(fault) => break fault,
        }
    };
    assert_eq!(
        (pushed, fault),
        (100, StreamFault::EventTooLarge { limit: 100 })
    );
    assert!(reader.line.len() <= 100);
}

#[test]
fn written_events_look_as_expected() {
    let written = |event: &Event| {
        let mut out = Vec::new();
        write_event(&mut out, event);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        written(&data("a\nb\r\nc\rd")),
        "data: a\ndata: b\ndata: c\ndata: d\n\n"
    );
    assert_eq!(written(&data("a\n")), "data: a\ndata: \n\n");
    assert_eq!(written(&Event::default()), "data: \n\n");
    let priming = Event {
        id: Some("1".to_owned()),
        ..Event::default()
    };
    assert_eq!(written(&priming), "id: 1\ndata: \n\n");
    let retry = Event {
        retry_ms: Some(5),
        ..Event::default()
    };
    assert_eq!(written(&retry), "retry: 5\n\n");
    let forged = Event {
        id: Some("1\n\ndata: x\0".to_owned()),
        event: Some("a\r\nid: 2".to_owned()),
        ..data("b")
    };
    assert_eq!(written(&forged), "id: 1data: x\nevent: aid: 2\ndata: b\n\n");
}

/// Streams of lines that mean something, and of lines that nearly do.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "data",
        "data: ",
        "data:",
        "id: ",
        "id",
        "event: ",
        "retry: ",
        "12",
        ":",
        ": c",
        " ",
        "x",
        "\0",
        "é",
        "😀",
        "\n",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\r\n\r\n",
        "\u{feff}",
        "{\"a\":1}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

/// The standard's algorithm on the whole stream at once, written as plainly as possible.
fn read_plainly(stream: &str) -> Vec<Event> {
    let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let mut lines: Vec<&str> = stream.split('\n').collect();
    lines.pop();
    for block in lines.split_inclusive(|line| line.is_empty()) {
        if block.last() != Some(&"") {
            continue;
        }
        let mut event = Event::default();
        let mut datas: Vec<&str> = Vec::new();
        for line in &block[..block.len() - 1] {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "data" => datas.push(value),
                "id" if !value.contains('\0') => event.id = Some(value.to_owned()),
                "event" => event.event = (!value.is_empty()).then(|| value.to_owned()),
                "retry" if value.chars().all(|c| c.is_ascii_digit()) => {
                    event.retry_ms = value.parse().ok().or(event.retry_ms);
                }
                _ => {}
            }
        }
        event.data = datas.join("\n");
        if !datas.is_empty() || event.id.is_some() || event.retry_ms.is_some() {
            events.push(event);
        }
    }
    events
}

fn events() -> impl Strategy<Value = Event> {
    let id = prop::option::of("[^\n\r\0]{0,8}");
    let name = prop::option::of("[^\n\r]{1,8}");
    let data = prop_oneof!["[^\r]{0,40}", "( |a|\n|:|data: ){0,12}"];
    (id, name, data, prop::option::of(any::<u64>())).prop_map(|(id, event, data, retry_ms)| Event {
        id,
        event,
        data,
        retry_ms,
    })
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(stream in streams(), cuts in prop::collection::vec(0..12_usize, 1..40)) {
        let expected = read_plainly(std::str::from_utf8(&stream).unwrap());
        prop_assert_eq!(&read(&stream), &expected);
        let mut reader = EventReader::new(LIMIT);
        let mut taken = Vec::new();
        let mut rest = &stream[..];
        for size in cuts.iter().cycle().take(stream.len() * 40) {
            let (chunk, after) = rest.split_at((*size).min(rest.len()));
            reader.push(chunk).unwrap();
            taken.extend(take(&mut reader));
            rest = after;
        }
        reader.push(rest).unwrap();
        taken.extend(take(&mut reader));
        prop_assert_eq!(taken, expected);
    }

    #[test]
    fn one_byte_at_a_time_gives_the_same_verdict(bytes in any::<Vec<u8>>(), limit in 0..20_usize) {
        let mut whole = EventReader::new(limit);
        let verdict = whole.push(&bytes);
        let mut single = EventReader::new(limit);
        prop_assert_eq!(bytes.chunks(1).try_for_each(|byte| single.push(byte)), verdict);
        prop_assert_eq!(take(&mut single), take(&mut whole));
    }

    #[test]
    fn what_is_written_is_read(written in prop::collection::vec(events(), 0..8)) {
        let mut out = Vec::new();
        for event in &written {
            write_event(&mut out, event);
        }
        prop_assert_eq!(read(&out), written);
    }

    #[test]
    fn nothing_written_becomes_two_events(
        id in prop::option::of("[\n\r\0a:]{0,8}"),
        event in prop::option::of("[\n\r\0a:]{0,8}"),
        data in "[\n\r\0a: ]{0,20}",
    ) {
        let mut out = Vec::new();
        write_event(&mut out, &Event { id, event, data, retry_ms: None });
        prop_assert_eq!(read(&out).len(), 1);
    }
}
