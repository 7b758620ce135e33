//! What people paste to connect a client, as each client's own documentation asks for it. Every text comes in two
//! forms: the client opens the sign-in by itself, or it sends a token.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::Portal;

/// Longest key in a client's settings.
const KEY_CHARS_MAX: usize = 40;

/// Where `npm start` puts the portal, and `npm run token` looks for it.
const LOCAL_ENDPOINT: &str = "http://localhost:8787/mcp";

/// How clients reach one portal.
pub(super) struct Clients<'a> {
    /// What the portal is called in settings: a-z, 0-9 and `-`.
    pub(super) key: String,
    endpoint: &'a str,
}

impl<'a> Clients<'a> {
    pub(super) fn of(portal: &Portal, endpoint: &'a str) -> Self {
        let key = key(&portal.name).unwrap_or_else(|| portal.id.clone());
        Self { key, endpoint }
    }

    /// Where a client learns which sign-in is the portal's (RFC 9728).
    pub(super) fn metadata(&self) -> String {
        let after_scheme = self.endpoint.find("://").map_or(0, |at| at + 3);
        let (origin, path) = self
            .endpoint
            .split_at_checked(after_scheme)
            .and_then(|(_, rest)| rest.find('/'))
            .and_then(|at| self.endpoint.split_at_checked(after_scheme + at))
            .unwrap_or((self.endpoint, ""));
        format!("{origin}/.well-known/oauth-protected-resource{path}")
    }

    /// A command that puts a token of the demo company into `TOKEN`; none for a portal that is not on this machine.
    pub(super) fn local_token(&self) -> Option<String> {
        let authority = self.endpoint.split_once("://")?.1.split('/').next()?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_local = host == "localhost"
            || host.ends_with(".localhost")
            || address.is_ok_and(|address| address.is_loopback());
        let resource = if self.endpoint == LOCAL_ENDPOINT {
            String::new()
        } else {
            format!(" --resource {}", for_shell(self.endpoint))
        };
        is_local.then(|| {
            format!("TOKEN=$(npm run --silent token -- --user alice@acme.example{resource})")
        })
    }

    pub(super) fn claude_code(&self, with_token: bool) -> String {
        let (key, endpoint) = (&self.key, for_shell(self.endpoint));
        format!(
            "claude mcp add --transport http {key} {endpoint}{}",
            header(with_token)
        )
    }

    /// `.vscode/mcp.json`
    pub(super) fn vscode(&self, with_token: bool) -> String {
        let (key, url) = (quoted(&self.key), quoted(self.endpoint));
        if !with_token {
            return format!(
                r#"{{
  "servers": {{
    {key}: {{
      "type": "http",
      "url": {url}
    }}
  }}
}}"#
            );
        }
        let (id, sent) = (quoted(&self.input()), quoted(&self.input_header()));
        format!(
            r#"{{
  "inputs": [
    {{
      "id": {id},
      "type": "promptString",
      "description": "Token for the portal",
      "password": true
    }}
  ],
  "servers": {{
    {key}: {{
      "type": "http",
      "url": {url},
      "headers": {{ "Authorization": {sent} }}
    }}
  }}
}}"#
        )
    }

    /// A link that VS Code opens, with what `code --add-mcp` takes.
    pub(super) fn vscode_link(&self, with_token: bool) -> String {
        let mut server = json!({ "name": self.key, "type": "http", "url": self.endpoint });
        if let (true, Some(server)) = (with_token, server.as_object_mut()) {
            let input = json!({
                "id": self.input(),
                "type": "promptString",
                "description": "Token for the portal",
                "password": true,
            });
            server.insert("inputs".to_owned(), json!([input]));
            let headers = json!({ "Authorization": self.input_header() });
            server.insert("headers".to_owned(), headers);
        }
        format!("vscode:mcp/install?{}", for_query(&server.to_string()))
    }

    /// `mcp.json` of Cursor
    pub(super) fn cursor(&self, with_token: bool) -> String {
        let sent = with_token.then_some("Bearer ${env:TOKEN}");
        self.mcp_servers("", sent)
    }

    /// A link that Cursor opens.
    pub(super) fn cursor_link(&self, with_token: bool) -> String {
        let mut server = json!({ "url": self.endpoint });
        if let (true, Some(server)) = (with_token, server.as_object_mut()) {
            let headers = json!({ "Authorization": "Bearer ${env:TOKEN}" });
            server.insert("headers".to_owned(), headers);
        }
        let config = STANDARD.encode(server.to_string());
        let (key, config) = (for_query(&self.key), for_query(&config));
        format!("cursor://anysphere.cursor-deeplink/mcp/install?name={key}&config={config}")
    }

    pub(super) fn inspector(&self, with_token: bool) -> String {
        let endpoint = for_shell(self.endpoint);
        if with_token {
            let header = header(true);
            format!(
                "npx @modelcontextprotocol/inspector --cli {endpoint} --transport http --method tools/list{header}"
            )
        } else {
            format!("npx @modelcontextprotocol/inspector --server-url {endpoint} --transport http")
        }
    }

    pub(super) fn other(&self, with_token: bool) -> String {
        let sent = with_token.then_some("Bearer YOUR_TOKEN");
        self.mcp_servers("\n      \"type\": \"http\",", sent)
    }

    /// The form most clients share.
    fn mcp_servers(&self, kind: &str, sent: Option<&str>) -> String {
        let (key, url) = (quoted(&self.key), quoted(self.endpoint));
        let headers = sent.map(|sent| {
            let sent = quoted(sent);
            format!(",\n      \"headers\": {{ \"Authorization\": {sent} }}")
        });
        let headers = headers.unwrap_or_default();
        format!(
            r#"{{
  "mcpServers": {{
    {key}: {{{kind}
      "url": {url}{headers}
    }}
  }}
}}"#
        )
    }

    fn input(&self) -> String {
        format!("{}-token", self.key)
    }

    fn input_header(&self) -> String {
        format!("Bearer ${{input:{}}}", self.input())
    }
}

/// A name as a key: its letters and digits in lower case, everything else a single `-`. None where nothing is left.
fn key(name: &str) -> Option<String> {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let key: String = words
        .join("-")
        .to_ascii_lowercase()
        .chars()
        .take(KEY_CHARS_MAX)
        .collect();
    let key = key.trim_end_matches('-');
    (!key.is_empty()).then(|| key.to_owned())
}

fn header(with_token: bool) -> &'static str {
    if with_token {
        " --header \"Authorization: Bearer $TOKEN\""
    } else {
        ""
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// One word of a POSIX shell. An endpoint never needs quotes, but its host came with a request.
fn for_shell(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ":/._-".contains(letter);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// As `encodeURIComponent` does.
fn for_query(text: &str) -> String {
    use std::fmt::Write as _;
    let mut query = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            let _ = write!(query, "%{byte:02X}");
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(endpoint: &str) -> Clients<'_> {
        Clients {
            key: "acme".to_owned(),
            endpoint,
        }
    }

    #[test]
    fn keys_are_plain_words() {
        for (name, expected) in [
            ("Acme", Some("acme")),
            ("Acme  Finance & Co.", Some("acme-finance-co")),
            ("--x", Some("x")),
            ("\"; rm -rf ~ #", Some("rm-rf")),
            ("日本", None),
            ("—", None),
        ] {
            assert_eq!(key(name).as_deref(), expected, "{name}");
        }
        let long = key(&"ab ".repeat(40)).unwrap();
        assert!(
            long.len() <= KEY_CHARS_MAX && !long.ends_with('-'),
            "{long}"
        );
    }

    #[test]
    fn settings_are_json_whatever_the_endpoint_is() {
        for endpoint in [
            "https://portal.acme.example/mcp",
            "http://\"x\\\n\u{2028}/mcp",
        ] {
            let clients = clients(endpoint);
            for with_token in [false, true] {
                for (text, group) in [
                    (clients.vscode(with_token), "servers"),
                    (clients.cursor(with_token), "mcpServers"),
                    (clients.other(with_token), "mcpServers"),
                ] {
                    let settings: Value = serde_json::from_str(&text).unwrap();
                    let server = &settings[group]["acme"];
                    assert_eq!(server["url"], endpoint);
                    assert_eq!(server["headers"]["Authorization"].is_string(), with_token);
                }
            }
        }
    }

    #[test]
    fn links_carry_the_same_server() {
        let clients = clients("https://portal.acme.example/p/finance/mcp");
        let link = clients.vscode_link(true);
        let encoded = link.strip_prefix("vscode:mcp/install?").unwrap();
        let decoded: String = url::form_urlencoded::parse(encoded.as_bytes())
            .next()
            .unwrap()
            .0
            .into_owned();
        let server: Value = serde_json::from_str(&decoded).unwrap();
        assert_eq!(server["url"], "https://portal.acme.example/p/finance/mcp");
        assert_eq!(
            server["headers"]["Authorization"],
            "Bearer ${input:acme-token}"
        );
        assert_eq!(server["inputs"][0]["id"], "acme-token");

        let link = url::Url::parse(&clients.cursor_link(false)).unwrap();
        let pairs: Vec<_> = link.query_pairs().collect();
        assert_eq!(pairs[0], ("name".into(), "acme".into()));
        let config: Value =
            serde_json::from_slice(&STANDARD.decode(&*pairs[1].1).unwrap()).unwrap();
        assert_eq!(
            config,
            json!({ "url": "https://portal.acme.example/p/finance/mcp" })
        );
    }

    #[test]
    fn commands_hold_one_word_for_an_endpoint() {
        let clients = clients("http://a';id;'b/mcp");
        let word = r"'http://a'\'';id;'\''b/mcp'";
        assert_eq!(
            clients.claude_code(false),
            format!("claude mcp add --transport http acme {word}")
        );
        assert!(clients.inspector(true).contains(word));
    }

    #[test]
    fn metadata_is_found_between_origin_and_path() {
        for (endpoint, metadata) in [
            (
                "https://a.example/p/x/mcp",
                "https://a.example/.well-known/oauth-protected-resource/p/x/mcp",
            ),
            (
                "http://localhost:8787/mcp",
                "http://localhost:8787/.well-known/oauth-protected-resource/mcp",
            ),
        ] {
            assert_eq!(clients(endpoint).metadata(), metadata);
        }
    }

    #[test]
    fn a_token_command_is_for_this_machine_only() {
        let command = |endpoint| clients(endpoint).local_token();
        assert_eq!(
            command("http://localhost:8787/mcp").as_deref(),
            Some("TOKEN=$(npm run --silent token -- --user alice@acme.example)")
        );
        assert_eq!(
            command("http://finance.localhost:1234/mcp").as_deref(),
            Some(
                "TOKEN=$(npm run --silent token -- --user alice@acme.example --resource \
                 http://finance.localhost:1234/mcp)"
            )
        );
        assert!(command("http://127.0.0.1:8787/mcp").is_some());
        assert_eq!(command("https://portal.acme.example/mcp"), None);
        assert_eq!(command("https://localhost.acme.example/mcp"), None);
    }
}
