//! Where a server is: a URL, or a service binding of the worker.

use std::borrow::Cow;

use super::Environment;
use super::address;
use super::limits::{URL_CHARS_MAX, VARIABLE_CHARS_MAX};
use super::name;
use super::node::{Node, Table};
use super::web_url::WebUrl;

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Over the network.
    Url(WebUrl),
    /// Another worker, bound to this one.
    Binding {
        /// The binding, `MCP_...`.
        name: String,
        /// The path of its endpoint.
        path: String,
    },
}

/// The origin a bound worker sees: a binding has no address of its own, and its requests tell which way they came.
const BINDING_ORIGIN: &str = "https://binding.internal";

impl Target {
    /// The absolute URL its requests carry.
    #[must_use]
    pub fn address(&self) -> Cow<'_, str> {
        match self {
            Self::Url(url) => Cow::Borrowed(url.as_str()),
            Self::Binding { path, .. } => Cow::Owned(format!("{BINDING_ORIGIN}{path}")),
        }
    }

    /// The host a secret is tied to, as the worker variable `SECRET_HOSTS` writes it.
    #[must_use]
    pub fn secret_host(&self) -> Cow<'_, str> {
        match self {
            Self::Url(url) => Cow::Borrowed(url.hostname()),
            Self::Binding { name, .. } => Cow::Owned(format!("binding:{name}")),
        }
    }
}

/// Path of a binding's endpoint when the document does not say.
const PATH_DEFAULT: &str = "/mcp";

pub(super) fn read(server: &Table<'_, '_>, environment: &Environment) -> Option<Target> {
    let (url, binding, path) = (server.get("url"), server.get("binding"), server.get("path"));
    if let Some(openapi) = server.get("openapi") {
        openapi.fault(
            "`openapi` servers are not supported yet; name an MCP endpoint with `url` or `binding`",
        );
    }
    if let (Some(path), None) = (path, binding) {
        path.fault("`path` belongs to `binding`; a `url` has its own path");
    }
    match (url, binding) {
        (Some(_), Some(binding)) => {
            binding.fault("a server has either `url` or `binding`, not both");
            None
        }
        (Some(url), None) => read_url(&url, environment).map(Target::Url),
        (None, Some(binding)) => {
            let name = read_binding(&binding);
            let path = path.map_or_else(|| Some(PATH_DEFAULT.to_owned()), |path| read_path(&path));
            Some(Target::Binding {
                name: name?,
                path: path?,
            })
        }
        (None, None) => {
            if server.get("openapi").is_none() {
                server
                    .node()
                    .fault("`url` or `binding` is missing: where is this server?");
            }
            None
        }
    }
}

/// A URL the portal may call.
pub(super) fn read_url(node: &Node<'_, '_>, environment: &Environment) -> Option<WebUrl> {
    let text = node.text(URL_CHARS_MAX)?;
    if text.contains(|letter: char| letter.is_whitespace() || letter == '\\') {
        node.fault("a URL contains no spaces or backslashes");
        return None;
    }
    let Some(url) = (environment.parse_url)(text) else {
        node.fault("not a URL; write it like https://host/path");
        return None;
    };
    if let Err(fault) = address::judge(&url, environment.local_development) {
        node.fault(fault.to_string());
        return None;
    }
    Some(url)
}

fn read_binding(node: &Node<'_, '_>) -> Option<String> {
    let text = node.text(VARIABLE_CHARS_MAX)?;
    if !name::is_variable(text, &["MCP_"]) {
        node.fault("a binding is called `MCP_` and then A-Z, 0-9 or `_`, so that no other binding can be reached");
        return None;
    }
    Some(text.to_owned())
}

fn read_path(node: &Node<'_, '_>) -> Option<String> {
    let text = node.text(URL_CHARS_MAX)?;
    let strange = |letter: char| !letter.is_ascii_graphic() || matches!(letter, '\\' | '#');
    if !text.starts_with('/') || text.starts_with("//") || text.contains(strange) {
        node.fault("a path begins with one `/` and has no spaces, backslashes or `#`");
        return None;
    }
    Some(text.to_owned())
}
