//! Sending a document to a portal's administration interface, and showing what it says.

use portcullis::config::ConfigError;
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use crate::document::Document;
use crate::failure::{Failure, harmless, print, warn};
use crate::{curl, loopback};

/// Bytes of the portal's answer that are read.
pub(crate) const REPLY_BYTES_MAX: usize = 1_000_000;
/// How long the portal may take.
pub(crate) const REPLY_MS_MAX: u64 = 60_000;
/// Characters of an answer nobody expected that are shown.
const SHOWN_CHARS_MAX: usize = 2_000;

/// Where a document is sent.
pub(crate) struct Endpoint(pub(crate) Url);

/// What a portal answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Endpoint {
    /// Whether the portal runs on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }
}

/// The configuration endpoint of the portal at a URL. Plain http is for this machine: it would show the token to
/// every network in between.
pub(crate) fn endpoint(portal: &str) -> Result<Endpoint, Failure> {
    let text = format!("{}/admin/api/config", portal.trim_end_matches('/'));
    let url =
        Url::parse(&text).map_err(|error| Failure::Usage(format!("--url {portal}: {error}")))?;
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let endpoint = Endpoint(url);
    match endpoint.0.scheme() {
        "https" | "http" if !bare || endpoint.0.password().is_some() => Err(Failure::Usage(
            format!("--url {portal}: write it like https://portal.acme.example"),
        )),
        "https" => Ok(endpoint),
        "http" if endpoint.is_loopback() => Ok(endpoint),
        "http" => Err(Failure::Usage(format!(
            "--url {portal}: use https, or the token could be read on its way"
        ))),
        _ => Err(Failure::Usage(format!("--url {portal}: not an https URL"))),
    }
}

/// Sends a document.
pub(crate) fn send(endpoint: &Endpoint, token: &str, document: &Document) -> Result<(), Failure> {
    if !token.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err("SETUP_TOKEN must be visible ASCII characters only"
            .to_owned()
            .into());
    }
    let body = document.json.to_string();
    let reply = if endpoint.0.scheme() == "http" {
        loopback::post(&endpoint.0, token, &body)?
    } else {
        warn("sending over https with curl; the token goes to it on its standard input");
        curl::post(&endpoint.0, token, &body)?
    };
    conclude(&reply, document)
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<ConfigError>,
}

fn conclude(reply: &Reply, document: &Document) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(&reply.body);
    if (200..300).contains(&reply.status) {
        let revision = serde_json::from_slice::<Value>(&reply.body).ok();
        let revision = revision.as_ref().and_then(|value| value.get("revision"));
        print(revision.map_or_else(
            || "applied".to_owned(),
            |id| harmless(&format!("applied: revision {id}")),
        ));
        return Ok(());
    }
    if let Ok(Errors { errors }) = serde_json::from_slice(&reply.body)
        && !errors.is_empty()
    {
        let errors: Vec<ConfigError> = errors
            .into_iter()
            .map(|error| ConfigError {
                message: harmless(&error.message),
                pointer: error.pointer,
            })
            .collect();
        return Err(format!(
            "{}\nthe portal refused the document",
            document.show(&errors)
        )
        .into());
    }
    let hint = match reply.status {
        401 | 403 => ": is SETUP_TOKEN this portal's?",
        404 => ": is this a portal's address?",
        _ => "",
    };
    let shown: String = harmless(&text).chars().take(SHOWN_CHARS_MAX).collect();
    Err(
        format!("the portal answered {}{hint}\n{shown}", reply.status)
            .trim_end()
            .to_owned()
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_travel_over_https_or_not_at_all() {
        for (portal, url) in [
            (
                "https://portal.acme.example",
                "https://portal.acme.example/admin/api/config",
            ),
            (
                "https://portal.acme.example/",
                "https://portal.acme.example/admin/api/config",
            ),
            (
                "http://localhost:8787",
                "http://localhost:8787/admin/api/config",
            ),
            ("http://[::1]:8787/", "http://[::1]:8787/admin/api/config"),
        ] {
            assert_eq!(endpoint(portal).unwrap().0.as_str(), url);
        }
        for portal in [
            "http://portal.acme.example",
            "http://10.0.0.1",
            "ftp://a.example",
            "localhost:8787",
            "https://u@a.example",
            "",
        ] {
            assert!(
                matches!(endpoint(portal), Err(Failure::Usage(_))),
                "{portal}"
            );
        }
    }

    #[test]
    fn the_portals_errors_show_their_lines() {
        let document = Document::read("a.toml", "[servers.a]\nurl = 'x'\n".to_owned()).unwrap();
        let conclude = |status, body: &str| match conclude(
            &Reply {
                status,
                body: body.as_bytes().to_vec(),
            },
            &document,
        ) {
            Ok(()) => String::new(),
            Err(Failure::Refused(text) | Failure::Usage(text)) => text,
        };
        let shown = conclude(
            422,
            r#"{"errors":[{"pointer":"/servers/a/url","message":"no\u001b"}]}"#,
        );
        assert!(shown.starts_with("a.toml:2:1: no\u{fffd}\n"), "{shown}");
        assert!(conclude(401, "no").contains("is SETUP_TOKEN this portal's?"));
        assert!(conclude(500, "\u{1b}[2J").contains('\u{fffd}'));
        assert!(conclude(500, r#"{"errors":[]}"#).contains("answered 500"));
        assert_eq!(conclude(201, ""), "");
    }
}
