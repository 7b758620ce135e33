use proptest::prelude::*;

use super::*;

const NO_ADDRESS: UpstreamFault = UpstreamFault::BadAnswer("an endpoint that is no address");

fn url(text: &str) -> Target {
    Target::Url(text.parse().unwrap())
}

fn resolved(target: &Target, named: &str) -> Result<String, UpstreamFault> {
    Address::resolve(target, named).map(|address| address.as_str().to_owned())
}

#[test]
fn an_endpoint_is_found_from_the_servers_own_address() {
    let server = url("https://a.example/v1/sse?tenant=7");
    for (named, address) in [
        (
            "/messages?sessionId=1",
            "https://a.example/messages?sessionId=1",
        ),
        ("messages/1", "https://a.example/v1/messages/1"),
        ("1:2", "https://a.example/v1/1:2"),
        ("../x", "https://a.example/v1/../x"),
        ("?sessionId=1", "https://a.example/v1/sse?sessionId=1"),
        ("https://a.example/m", "https://a.example/m"),
        ("HTTPS://A.Example/m", "https://a.example/m"),
        ("https://a.example:443/m", "https://a.example/m"),
        ("https://a.example?m=1", "https://a.example/?m=1"),
        ("https://a.example", "https://a.example/"),
        ("//a.example/m", "https://a.example/m"),
        ("/m#part", "https://a.example/m"),
        (
            "/m?to=https://evil.example/@x",
            "https://a.example/m?to=https://evil.example/@x",
        ),
        (
            "/..//evil.example/m",
            "https://a.example/..//evil.example/m",
        ),
    ] {
        assert_eq!(resolved(&server, named).as_deref(), Ok(address), "{named}");
    }
    let local = url("http://127.0.0.1:9101/sse");
    assert_eq!(
        resolved(&local, "http://127.0.0.1:9101/m").as_deref(),
        Ok("http://127.0.0.1:9101/m")
    );
    let bare = url("https://a.example");
    assert_eq!(resolved(&bare, "m").as_deref(), Ok("https://a.example/m"));
}

#[test]
fn another_origin_is_foreign_however_it_is_written() {
    let server = url("https://a.example/sse");
    for named in [
        "https://evil.example/m",
        "http://a.example/m",
        "http://a.example:443/m",
        "https://a.example:8443/m",
        "https://a.example:/m",
        "https://a.example:0443/m",
        "https://a.example./m",
        "https://%61.example/m",
        "https://sub.a.example/m",
        "https://a.example.evil.example/m",
        "https://a.example@evil.example/m",
        "https://a.example:443@evil.example/m",
        "https://user:secret@a.example/m",
        "https://@a.example/m",
        "https:///evil.example/m",
        "https:////evil.example/m",
        "//evil.example/m",
        "///evil.example/m",
        "//",
        "//a.example:80/m",
        "//a.example@evil.example",
        "ftp://a.example/m",
        "javascript:alert(1)",
        "data:text/plain,x",
        "file:///etc/passwd",
        "a.example:443/m",
    ] {
        assert_eq!(
            resolved(&server, named),
            Err(UpstreamFault::ForeignEndpoint),
            "{named}"
        );
    }
    let local = url("http://127.0.0.1:9101/sse");
    for named in [
        "http://127.0.0.1:9102/m",
        "http://127.0.0.1/m",
        "http://127.1:9101/m",
        "http://localhost:9101/m",
        "//2130706433:9101/m",
    ] {
        assert_eq!(
            resolved(&local, named),
            Err(UpstreamFault::ForeignEndpoint),
            "{named}"
        );
    }
}

#[test]
fn what_is_no_address_is_refused_as_that() {
    let server = url("https://a.example/sse");
    let long = format!("/{}", "a".repeat(ENDPOINT_BYTES_MAX));
    for named in [
        "",
        "#part",
        " /m",
        "/m ",
        "/a b",
        "/\t/evil.example",
        "/\\evil.example/m",
        "\\\\evil.example/m",
        "https:\\\\evil.example/m",
        "https:/\\evil.example/m",
        "https://a.example\\@evil.example/m",
        "https:m",
        "https:/m",
        "https://a\u{2024}example/m",
        "https://\u{ff41}.example/m",
        "//a.example\u{2044}m",
        "/mess\u{e4}ge",
        "/m\u{0}",
        "/m\r\nX-Header: 1",
        &long,
    ] {
        assert_eq!(resolved(&server, named), Err(NO_ADDRESS), "{named:?}");
    }
}

#[test]
fn a_binding_has_a_path_and_nothing_else() {
    let server = Target::Binding {
        name: "MCP_A".to_owned(),
        path: "/v1/sse".to_owned(),
    };
    for (named, address) in [
        ("/m?s=1", "https://binding.internal/m?s=1"),
        ("m", "https://binding.internal/v1/m"),
        ("https://binding.internal/m", "https://binding.internal/m"),
    ] {
        assert_eq!(resolved(&server, named).as_deref(), Ok(address), "{named}");
    }
    for named in [
        "https://evil.example/m",
        "//evil.example/m",
        "http://binding.internal/m",
    ] {
        assert_eq!(
            resolved(&server, named),
            Err(UpstreamFault::ForeignEndpoint),
            "{named}"
        );
    }
}

#[test]
fn a_connection_is_named_after_its_server() {
    let address = Address::resolve(&url("https://a.example/sse"), "/m?secret=1").unwrap();
    let endpoint = Endpoint::new(address, "jira", "0a");
    assert_eq!(endpoint.place, "jira#0a");
    assert_eq!(
        (server_of(&endpoint.place), server_of("wiki")),
        ("jira", "wiki")
    );
}

/// Pieces that URLs, and those who forge them, are made of.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "http:",
        "https:",
        "HTTPS:",
        "ftp:",
        "/",
        "//",
        "\\",
        "@",
        ":",
        "443",
        "80",
        "9101",
        "?",
        "#",
        "&",
        "a.example",
        "A.EXAMPLE",
        "evil.example",
        "127.0.0.1",
        "[::1]",
        "binding.internal",
        ".",
        "..",
        "%2e",
        "%00",
        "%40",
        "x",
        "=",
        " ",
        "\t",
        "\n",
        "\u{e4}",
        "\u{ff0f}",
        "\u{3002}",
        "<",
        "|",
        "^",
        "{",
    ]);
    prop::collection::vec(piece, 0..9).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// What is accepted is of the server's own origin to a reader of the whole standard, and what that reader finds.
    #[test]
    fn whatever_is_accepted_stays_in_the_origin(
        named in prop_oneof![pieces(), ".{0,40}"],
        own in prop::sample::select(vec![
            "https://a.example/v1/sse?t=1", "https://a.example", "http://127.0.0.1:9101/sse", "https://[::1]:9101/a/b",
        ]),
    ) {
        let base = ::url::Url::parse(own).unwrap();
        if let Ok(address) = resolved(&url(own), &named) {
            let read = ::url::Url::parse(&address).unwrap();
            prop_assert_eq!(read.origin(), base.origin(), "{}", address);
            prop_assert!(read.username().is_empty() && read.password().is_none(), "{}", address);
            let mut joined = base.join(&named).unwrap();
            joined.set_fragment(None);
            prop_assert_eq!(read, joined, "{}", address);
            prop_assert!(address.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }

    /// What the whole standard reads as another origin is never accepted.
    #[test]
    fn whatever_leads_elsewhere_is_refused(named in pieces()) {
        let base = ::url::Url::parse("https://a.example/sse").unwrap();
        if base.join(&named).is_ok_and(|joined| joined.origin() != base.origin()) {
            prop_assert!(resolved(&url("https://a.example/sse"), &named).is_err(), "{}", named);
        }
    }
}
