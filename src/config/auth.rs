//! How the portal signs in to a server. The document names secrets; it never holds one.

use super::Environment;
use super::limits::{HEADERS_PER_SERVER_MAX, VARIABLE_CHARS_MAX};
use super::name;
use super::node::{Node, shown};
use super::target::Target;

/// The portal's credential at a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// `Authorization: Bearer`.
    Bearer {
        /// The worker secret that holds the token.
        secret: String,
    },
    /// Headers of the server's own: lower-case header name, and the worker secret that holds the value.
    Headers(Vec<(String, String)>),
}

#[derive(Clone, Copy)]
enum Kind {
    None,
    Bearer,
    Headers,
    Later,
}

const KINDS: [(&str, Kind); 7] = [
    ("none", Kind::None),
    ("bearer", Kind::Bearer),
    ("headers", Kind::Headers),
    ("oauth", Kind::Later),
    ("service_token", Kind::Later),
    ("access", Kind::Later),
    ("id_jag", Kind::Later),
];

/// `target` is where the secrets would go; without a valid one only their names are judged.
pub(super) fn read(
    node: &Node<'_, '_>,
    target: Option<&Target>,
    environment: &Environment,
) -> Auth {
    let Some(table) = node.open_table() else {
        return Auth::None;
    };
    let kind = table.require("kind");
    let Some(choice) = kind.and_then(|kind| kind.choice(&KINDS)) else {
        return Auth::None;
    };
    match choice {
        Kind::None => {
            table.refuse_unknown(&["kind"]);
            Auth::None
        }
        Kind::Bearer => {
            table.refuse_unknown(&["kind", "secret"]);
            let secret = table
                .require("secret")
                .and_then(|node| read_secret(&node, target, environment));
            secret
                .map(|secret| Auth::Bearer { secret })
                .unwrap_or_default()
        }
        Kind::Headers => {
            table.refuse_unknown(&["kind", "headers"]);
            let headers = table.require("headers");
            headers
                .map(|node| Auth::Headers(read_headers(&node, target, environment)))
                .unwrap_or_default()
        }
        Kind::Later => {
            if let Some(kind) = kind {
                kind.fault("this kind is not supported yet; use `none`, `bearer` or `headers`");
            }
            Auth::None
        }
    }
}

fn read_headers(
    node: &Node<'_, '_>,
    target: Option<&Target>,
    environment: &Environment,
) -> Vec<(String, String)> {
    let entries = node.entries(HEADERS_PER_SERVER_MAX, "headers");
    if entries.is_empty() && node.value().is_object() {
        node.fault("names no header; use kind = \"none\" for a server without a credential");
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (header, node) in &entries {
        let lower = header.to_ascii_lowercase();
        if let Some(fault) = header_fault(&lower) {
            node.fault(format!("header `{}`: {fault}", shown(header)));
        }
        if headers.iter().any(|(known, _)| *known == lower) {
            node.fault(format!(
                "header `{}` is given twice; upper and lower case are the same",
                shown(header)
            ));
        }
        let secret = read_secret(node, target, environment);
        headers.push((lower, secret.unwrap_or_default()));
    }
    headers
}

/// Headers of the connection, which only the platform may set.
const CONNECTION_HEADERS: [&str; 9] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers the portal writes itself on every call.
const PORTAL_HEADERS: [&str; 7] = [
    "accept",
    "accept-encoding",
    "content-encoding",
    "content-length",
    "content-type",
    "last-event-id",
    "expect",
];

fn header_fault(lower: &str) -> Option<&'static str> {
    if lower.len() > VARIABLE_CHARS_MAX || !name::is_header(lower) {
        return Some("not a header name");
    }
    match lower {
        "authorization" => Some("use kind = \"bearer\" for it"),
        "cookie" | "set-cookie" => Some("cookies are never sent to a server"),
        "proxy-authorization" => Some("it belongs to the connection, not to the server"),
        _ if lower.starts_with("mcp-") => Some("`Mcp-*` headers belong to the protocol"),
        _ if CONNECTION_HEADERS.contains(&lower) => {
            Some("it belongs to the connection, not to the server")
        }
        _ if PORTAL_HEADERS.contains(&lower) => Some("the portal sets it itself"),
        _ => None,
    }
}

fn read_secret(
    node: &Node<'_, '_>,
    target: Option<&Target>,
    environment: &Environment,
) -> Option<String> {
    let secret = node.text(VARIABLE_CHARS_MAX)?;
    if !name::is_variable(secret, &["UPSTREAM_", "PROVIDER_"]) {
        node.fault(
            "name a worker secret called `UPSTREAM_` or `PROVIDER_` and then A-Z, 0-9 or `_`; \
             never write the secret itself here",
        );
        return None;
    }
    let host = target?.secret_host();
    let hosts = environment
        .secret_hosts
        .get(secret)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if !hosts.iter().any(|known| known.eq_ignore_ascii_case(&host)) {
        node.fault(format!(
            "the secret {secret} may not be sent to `{host}`: if it should, add `{host}` to {secret} in the worker \
             variable SECRET_HOSTS ({{\"{secret}\": [\"{host}\"]}})"
        ));
        return None;
    }
    Some(secret.to_owned())
}
