//! The configuration document: what an administrator decides, parsed once into what cannot be wrong.
//!
//! Humans write TOML, the worker takes the same document as JSON, and both go through [`parse`], which returns
//! every error at once, each with the JSON pointer of the place it is about. What the document may not decide about
//! itself (local development, which secret may go to which host) comes from worker variables, as [`Environment`].

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::Value;

mod access;
pub mod address;
mod auth;
mod document;
mod fault;
mod groups;
mod issuer;
pub mod limits;
mod name;
mod node;
mod pattern;
mod portal;
mod server;
mod spelling;
mod target;
#[cfg(test)]
mod tests;
mod tools;
mod web_url;

pub use access::{AccessAction, AccessRule, Selector};
pub use auth::Auth;
pub use fault::ConfigError;
pub use issuer::{Algorithm, Issuer, TokenSource};
pub use pattern::Pattern;
pub use portal::{CodeMode, Inspect, Portal, PortalServer};
pub use server::{Alias, EraChoice, Server, Transport};
pub use target::Target;
pub use tools::{ToolDefault, ToolRules};
#[cfg(not(target_arch = "wasm32"))]
pub use web_url::parse_natively;
pub use web_url::{Getters, Host, ParseUrl, Scheme, WebUrl};

use fault::Faults;
use node::Node;

/// A valid configuration. It is immutable: a change is a new revision, parsed anew.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// In the order of their ids.
    pub portals: Vec<Rc<Portal>>,
    /// By id.
    pub servers: BTreeMap<String, Rc<Server>>,
    /// In the order of their ids.
    pub issuers: Vec<Rc<Issuer>>,
    /// Lower-case e-mail addresses by group name. Groups may also come from an identity provider's claims.
    pub groups: HashMap<String, Vec<String>>,
}

impl Config {
    /// The portal answering under a `Host` header's value, whose case, port and final dot do not matter.
    #[must_use]
    pub fn portal_by_host(&self, host: &str) -> Option<&Rc<Portal>> {
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name);
        self.portals.iter().find(|portal| {
            portal
                .hostnames
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// The portal with an id, as in `/p/{portal}/mcp`.
    #[must_use]
    pub fn portal(&self, id: &str) -> Option<&Rc<Portal>> {
        self.portals.iter().find(|portal| portal.id == id)
    }
}

/// What is given where the document is read, and the document therefore cannot change.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Set by the start script only: loopback addresses, plain `http` to them and `bypass` for everyone may be used.
    pub local_development: bool,
    /// The hosts each secret may be sent to; for a service binding the host is written `binding:MCP_NAME`.
    pub secret_hosts: HashMap<String, Vec<String>>,
    /// How addresses are read.
    pub parse_url: ParseUrl,
}

impl Environment {
    /// No variables, with a parser of URLs.
    #[must_use]
    pub fn new(parse_url: ParseUrl) -> Self {
        Self {
            local_development: false,
            secret_hosts: HashMap::new(),
            parse_url,
        }
    }

    /// Reads the worker variables `LOCAL_DEVELOPMENT` (on when it is `1`) and `SECRET_HOSTS` (a JSON object).
    ///
    /// # Errors
    /// A sentence for the operator when `SECRET_HOSTS` is not an object of lists of host names.
    pub fn with_variables(
        self,
        local_development: Option<&str>,
        secret_hosts: Option<&str>,
    ) -> Result<Self, String> {
        let secret_hosts = match secret_hosts.map(str::trim) {
            None | Some("") => HashMap::new(),
            Some(json) => serde_json::from_str(json).map_err(|error| {
                format!(
                    "the worker variable SECRET_HOSTS is not of the form {{\"UPSTREAM_NAME\": [\"host\"]}}: {error}"
                )
            })?,
        };
        Ok(Self {
            local_development: local_development == Some("1"),
            secret_hosts,
            ..self
        })
    }

    /// [`Environment::with_variables`] with the native parser of URLs.
    ///
    /// # Errors
    /// The same.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_variables(
        local_development: Option<&str>,
        secret_hosts: Option<&str>,
    ) -> Result<Self, String> {
        Self::default().with_variables(local_development, secret_hosts)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Default for Environment {
    fn default() -> Self {
        Self::new(parse_natively)
    }
}

/// Reads and validates the JSON form of a document.
///
/// # Errors
/// Every fault found, in the order of the document's parts.
pub fn parse(json: &[u8], environment: &Environment) -> Result<Config, Vec<ConfigError>> {
    let value = document::read(json).map_err(|error| vec![error])?;
    validate(&value, environment)
}

/// Validates a document that is already a JSON value, as the command line has it after reading TOML.
///
/// # Errors
/// Every fault found, in the order of the document's parts.
pub fn validate(document: &Value, environment: &Environment) -> Result<Config, Vec<ConfigError>> {
    let faults = Faults::default();
    let config = read(&Node::root(document, &faults), environment);
    faults.into_result(config)
}

fn read(root: &Node<'_, '_>, environment: &Environment) -> Config {
    let Some(table) = root.table(&["portals", "servers", "identity", "groups"]) else {
        return Config::default();
    };
    let declared = table
        .get("servers")
        .map(|node| server::read_all(&node, environment))
        .unwrap_or_default();
    let portals = table
        .get("portals")
        .map(|node| portal::read_all(&node, &declared, environment));
    let issuers = table
        .get("identity")
        .map(|node| issuer::read_all(&node, environment));
    let groups = table.get("groups").map(|node| groups::read_all(&node));
    Config {
        portals: portals.unwrap_or_default(),
        servers: declared.into_servers(),
        issuers: issuers.unwrap_or_default(),
        groups: groups.unwrap_or_default(),
    }
}
