//! One address written in many ways is judged as one address, and what was judged is what is called.

use serde_json::json;

use super::*;

/// As written in a document, and either the URL that is called or words of the fault.
const NOTATIONS: &[(&str, Result<&str, &str>)] = &[
    // The same public place.
    ("https://jira.example/mcp", Ok("https://jira.example/mcp")),
    ("hTTpS://JIRA.eXample/mcp", Ok("https://jira.example/mcp")),
    ("https:jira.example/mcp", Ok("https://jira.example/mcp")),
    ("https:///jira.example/mcp", Ok("https://jira.example/mcp")),
    ("https://@jira.example/mcp", Ok("https://jira.example/mcp")),
    ("https://:@jira.example/mcp", Ok("https://jira.example/mcp")),
    (
        "https://jira.example:443/mcp",
        Ok("https://jira.example/mcp"),
    ),
    (
        "https://jira.example:00443/mcp",
        Ok("https://jira.example/mcp"),
    ),
    ("https://jira%2eexample/mcp", Ok("https://jira.example/mcp")),
    (
        "https://j\u{ad}ira.example/mcp",
        Ok("https://jira.example/mcp"),
    ),
    (
        "https://\u{ff4a}ira\u{3002}example/mcp",
        Ok("https://jira.example/mcp"),
    ),
    (
        "https://jira.example/a/../../mcp",
        Ok("https://jira.example/mcp"),
    ),
    (
        "https://jira.example/a/%2E%2e/mcp",
        Ok("https://jira.example/mcp"),
    ),
    (
        "https://b\u{fc}cher.example:8443",
        Ok("https://xn--bcher-kva.example:8443/"),
    ),
    (
        "https://jira.example/@10.0.0.1",
        Ok("https://jira.example/@10.0.0.1"),
    ),
    (
        "https://jira.example?@10.0.0.1",
        Ok("https://jira.example/?@10.0.0.1"),
    ),
    ("https://10.0.0.1.example/", Ok("https://10.0.0.1.example/")),
    ("https://0x8.0x8.010.8/", Ok("https://8.8.8.8/")),
    (
        "https://[2606:4700:0:0::1111]/",
        Ok("https://[2606:4700::1111]/"),
    ),
    // This machine.
    ("https://127.0.0.1/", Err("loopback")),
    ("https://2130706433/", Err("loopback")),
    ("https://0x7f000001/", Err("loopback")),
    ("https://0X7F.1/", Err("loopback")),
    ("https://017700000001/", Err("loopback")),
    ("https://0177.0.0.01/", Err("loopback")),
    ("https://127.1/", Err("loopback")),
    ("https://127.0.0.1./", Err("loopback")),
    ("https:127.0.0.1/", Err("loopback")),
    ("https:////127.0.0.1/", Err("loopback")),
    ("https://%31%32%37.0.0.1/", Err("loopback")),
    ("https://127%2e0%2e0%2e1/", Err("loopback")),
    ("https://127\u{3002}0\u{ff0e}0.1/", Err("loopback")),
    ("https://\u{ff11}27.0.0.1/", Err("loopback")),
    ("https://\u{2460}\u{2461}\u{2466}.0.0.1/", Err("loopback")),
    ("https://[::1]/", Err("loopback")),
    ("https://[0:0::0:01]:8443/", Err("loopback")),
    ("https://LOCALHOST/", Err("loopback")),
    ("https://x.localhost/", Err("loopback")),
    ("https://%6cocalhost/", Err("loopback")),
    ("https://local\u{ad}host/", Err("loopback")),
    (
        "https://\u{24db}\u{24de}\u{24d2}\u{24d0}\u{24db}\u{24d7}\u{24de}\u{24e2}\u{24e3}/",
        Err("loopback"),
    ),
    ("https://localho\u{17f}t/", Err("loopback")),
    // Networks of its own.
    ("https://0/", Err("unspecified")),
    ("https://0x/", Err("unspecified")),
    ("https://10.1/", Err("a private address")),
    ("https://167772161/", Err("a private address")),
    ("https://0300.0250.1/", Err("a private address")),
    ("https://0xa9fea9fe/", Err("cloud metadata")),
    ("https://2852039166/", Err("cloud metadata")),
    ("https://0251.0376.43518/", Err("cloud metadata")),
    (
        "https://169\u{ff61}254\u{ff61}169\u{ff61}254/",
        Err("cloud metadata"),
    ),
    (
        "https://[::ffff:169.254.169.254]/",
        Err("inside an IPv6 address"),
    ),
    ("https://[::FFFF:7f00:1]/", Err("inside an IPv6 address")),
    (
        "https://[0:0:0:0:0:0:10.0.0.1]/",
        Err("inside an IPv6 address"),
    ),
    ("https://[64:ff9b::10.0.0.1]/", Err("NAT64")),
    ("https://[FE80::1]/", Err("link-local")),
    (
        "https://metadata.google.%69nternal/",
        Err("private network"),
    ),
    (
        "https://metadata.google.intern\u{200b}al/",
        Err("private network"),
    ),
    ("https://intranet/", Err("private network")),
    ("https://localhost%2e/", Err("final dot")),
    ("https://localhost\u{3002}/", Err("final dot")),
    // What stands around the host.
    (
        "https://10.0.0.1@jira.example/",
        Err("user name or password"),
    ),
    (
        "https://jira.example@10.0.0.1/",
        Err("user name or password"),
    ),
    (
        "https://jira.example:443@10.0.0.1/",
        Err("user name or password"),
    ),
    ("https://:p@jira.example/", Err("user name or password")),
    ("https://jira.example/#", Err("#fragment")),
    ("https://jira.example#@10.0.0.1/", Err("#fragment")),
    ("https://jira.example\\@10.0.0.1/", Err("backslashes")),
    ("https:\\\\10.0.0.1/", Err("backslashes")),
    ("https://10.0.\t0.1/", Err("control")),
    ("https://jira.example /", Err("no spaces")),
    ("http://jira.example/", Err("use https")),
    ("http:8.8.8.8/", Err("use https")),
    ("ws://127.1/", Err("only https URLs")),
    ("ftp://jira.example/", Err("only https URLs")),
    ("file:///etc/passwd", Err("only https URLs")),
    ("file://10.0.0.1/etc/passwd", Err("only https URLs")),
    ("data:,x", Err("only https URLs")),
    (
        "javascript://jira.example/%0aalert(1)",
        Err("only https URLs"),
    ),
    ("blob:https://jira.example/x", Err("only https URLs")),
    ("jira.example:443/mcp", Err("only https URLs")),
    // Nothing at all.
    ("//jira.example/mcp", Err("not a URL")),
    ("/mcp", Err("not a URL")),
    ("https:", Err("not a URL")),
    ("https://", Err("not a URL")),
    ("https://@/", Err("not a URL")),
    ("https://:443/", Err("not a URL")),
    ("https://jira.example:99999/", Err("not a URL")),
    ("https://jira.example:44x/", Err("not a URL")),
    ("https://256.0.0.1/", Err("not a URL")),
    ("https://1.2.3.4.5/", Err("not a URL")),
    ("https://4294967296/", Err("not a URL")),
    ("https://127.0.0.09/", Err("not a URL")),
    ("https://jira.1/", Err("not a URL")),
    ("https://[::1/", Err("not a URL")),
    ("https://[::1]x/", Err("not a URL")),
    ("https://[fe80::1%25eth0]/", Err("not a URL")),
    ("https://[1::2::3]/", Err("not a URL")),
    ("https://jira%00.example/", Err("not a URL")),
    ("https://jira%2fexample/", Err("not a URL")),
    ("https://jira%40example/", Err("not a URL")),
    ("https://jira%5cexample/", Err("not a URL")),
    ("https://jira%25example/", Err("not a URL")),
    ("https://jira\u{ff05}41.example/", Err("not a URL")),
    ("https://jira<.example/", Err("not a URL")),
    ("https://jira\u{ff0f}.example/", Err("not a URL")),
    ("https://\u{ad}/", Err("not a URL")),
    ("https://xn--\u{ad}/", Err("not a URL")),
];

#[test]
fn every_notation_is_judged_as_what_it_means() {
    for (written, expected) in NOTATIONS {
        let document = json!({ "servers": { "wiki": { "url": written } } });
        match (check(&document, &production()), expected) {
            (Ok(config), Ok(called)) => {
                let Target::Url(url) = &config.servers["wiki"].target else {
                    panic!("{written}")
                };
                assert_eq!(url.as_str(), *called, "{written}");
            }
            (Err(errors), Err(words)) => {
                let [error] = errors.as_slice() else {
                    panic!("{written}: {errors:#?}")
                };
                assert_eq!(error.pointer, "/servers/wiki/url", "{written}");
                assert!(error.message.contains(words), "{written}: {error}");
            }
            (found, expected) => panic!("{written}: {found:#?} and not {expected:?}"),
        }
    }
}
