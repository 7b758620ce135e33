use super::*;

fn request(body: &str) -> Request<'_> {
    match Message::parse(body.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

#[test]
fn a_call_is_read_with_the_places_that_change() {
    let body = r#"{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"jira_get\u005fissue","arguments":{"key":"A-1"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","traceparent":"00-x","progressToken":7}}}"#;
    let request = request(body);
    assert_eq!(request.id.text, "\"a-1\"");
    let name = request.params.name.unwrap();
    assert_eq!(name.value, "jira_get_issue");
    assert_eq!(
        body.get(name.raw.start..name.raw.end).unwrap(),
        r#""jira_get\u005fissue""#
    );
    assert_eq!(request.params.arguments.unwrap().text, r#"{"key":"A-1"}"#);
    let meta = &request.params.meta;
    assert_eq!(meta.protocol_version.as_deref(), Some("2026-07-28"));
    assert_eq!(meta.progress_token.unwrap().text, "7");
    assert_eq!(meta.others.len(), 1);
    let raw = meta.raw.unwrap();
    assert_eq!(body.get(raw.start..raw.end), Some(raw.text));
    assert!(raw.text.starts_with('{') && raw.text.ends_with('}'));
}

#[test]
fn every_refusal_names_its_fault() {
    let table: [(&str, &str); 14] = [
        ("", "Parse error"),
        ("{", "Parse error"),
        ("nonsense", "Parse error"),
        ("[]", "no batches"),
        ("7", "a message is a JSON object"),
        (r#"{"id":1,"method":"ping"}"#, "jsonrpc must be"),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            "jsonrpc must be",
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            "an id is a string or an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            "a numeric id is an integer",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1}"#,
            "a request, a notification or a response",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            "method is a string",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#,
            "params is an object",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
            "name is a string",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            "Parse error",
        ),
    ];
    for (body, expected) in table {
        let fault = Message::parse(body.as_bytes()).expect_err(body).to_string();
        assert!(fault.contains(expected), "{body}: {fault}");
    }
}

#[test]
fn a_name_spelled_twice_is_refused_however_it_is_escaped() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","n\u0061me":"delete"}}"#;
    assert!(matches!(
        Message::parse(body.as_bytes()),
        Err(BadMessage::NotJson(_))
    ));
}

#[test]
fn a_refused_request_still_has_its_id() {
    let id = |body: &'static str| Message::id_of(body.as_bytes()).map(|raw| raw.text);
    assert_eq!(
        id(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":5}}"#),
        Some("7")
    );
    assert_eq!(id(r#"{"id":"a","method":"ping"}"#), Some("\"a\""));
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), None);
    assert_eq!(id(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), None);
    assert_eq!(id("["), None);
}

#[test]
fn batches_split_up_to_the_bound() {
    let body = br#"[{"jsonrpc":"2.0","method":"a"}, {"jsonrpc":"2.0","method":"b"}]"#;
    assert_eq!(Message::split_batch(body, 2).unwrap().len(), 2);
    assert!(Message::split_batch(body, 1).is_err());
    assert!(Message::split_batch(b"[]", 1).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..512)) {
        let _ = Message::parse(&bytes);
        let _ = Message::split_batch(&bytes, 4);
    }

    #[test]
    fn no_mangled_message_makes_it_panic(at in 0_usize..150, byte in proptest::num::u8::ANY) {
        let mut body = br#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{},"_meta":{"progressToken":"x"}}}"#.to_vec();
        if let Some(slot) = body.get_mut(at) { *slot = byte; }
        let _ = Message::parse(&body);
    }
}
