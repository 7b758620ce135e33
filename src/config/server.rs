//! Upstream servers, and the names their tools have outside.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::Environment;
use super::auth::{self, Auth};
use super::limits::{
    ALIASES_PER_SERVER_MAX, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, SERVERS_MAX, TIMEOUT_MS_DEFAULT,
    TIMEOUT_MS_MAX, TIMEOUT_MS_MIN, TOOL_NAME_CHARS_MAX,
};
use super::name;
use super::node::{Node, Table, shown};
use super::target::{self, Target};
use super::tools::{self, ToolRules};

/// An upstream MCP server.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its key in the document.
    pub id: String,
    /// For people; the id when the document has none.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// Before the names of its tools; empty where a portal has just this server.
    pub prefix: String,
    /// Which era it speaks.
    pub era: EraChoice,
    /// How its messages travel.
    pub transport: Transport,
    /// The portal's credential there.
    pub auth: Auth,
    /// Which of its tools may be used, unless a portal has rules of its own.
    pub tools: ToolRules,
    /// By upstream tool name.
    pub aliases: BTreeMap<String, Alias>,
    /// Wait for an answer.
    pub timeout_ms: u32,
    /// Whether it is offered at all. Portals keep listing a server that is switched off.
    pub enabled: bool,
}

/// What a tool is called and described as outside, instead of what its server says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alias {
    /// Replaces the tool's name.
    pub name: Option<String>,
    /// Replaces the tool's description.
    pub description: Option<String>,
}

/// Which era a server speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EraChoice {
    /// Found out by asking.
    #[default]
    Auto,
    /// 2025-11-25 and older.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// How messages travel to a server and back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// Found out by asking.
    #[default]
    Auto,
    /// One endpoint that answers each POST (2025-03-26 and newer).
    StreamableHttp,
    /// A stream that names an endpoint for messages (2024-11-05).
    HttpSse,
}

impl Server {
    /// The name a tool has outside: its alias or own name, after the prefix.
    #[must_use]
    pub fn exposed_name(&self, upstream_name: &str) -> String {
        let renamed = self
            .aliases
            .get(upstream_name)
            .and_then(|alias| alias.name.as_deref());
        let name = renamed.unwrap_or(upstream_name);
        if self.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}_{name}", self.prefix)
        }
    }

    /// The server's own name for what is left of an exposed name after its prefix. Nothing when a tool of that name
    /// is hidden behind an alias: it is then reached by the alias only.
    #[must_use]
    pub fn upstream_name<'a>(&'a self, rest: &'a str) -> Option<&'a str> {
        let renamed = self
            .aliases
            .iter()
            .find(|(_, alias)| alias.name.as_deref() == Some(rest));
        if let Some((upstream_name, _)) = renamed {
            return Some(upstream_name);
        }
        let hidden = self
            .aliases
            .get(rest)
            .is_some_and(|alias| alias.name.is_some());
        (!hidden).then_some(rest)
    }
}

/// The servers of a document as its portals need them: also those with faults, so that a portal naming one is not
/// called wrong as well.
#[derive(Default)]
pub(super) struct Declared {
    servers: BTreeMap<String, DeclaredServer>,
}

/// One declared server.
pub(super) struct DeclaredServer {
    /// Nothing when it is faulty.
    pub(super) prefix: Option<String>,
    /// Nothing when its target is faulty.
    pub(super) server: Option<Rc<Server>>,
}

impl Declared {
    pub(super) fn get(&self, id: &str) -> Option<&DeclaredServer> {
        self.servers.get(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.servers.keys().map(String::as_str)
    }

    pub(super) fn into_servers(self) -> BTreeMap<String, Rc<Server>> {
        self.servers
            .into_iter()
            .filter_map(|(id, declared)| Some((id, declared.server?)))
            .collect()
    }
}

pub(super) fn read_all(node: &Node<'_, '_>, environment: &Environment) -> Declared {
    let mut declared = Declared::default();
    for (id, node) in node.entries(SERVERS_MAX, "servers") {
        if !name::is_id(id) {
            node.fault(format!(
                "`{}` is not a server id: {}",
                shown(id),
                name::ID_RULE
            ));
        }
        declared
            .servers
            .insert(id.to_owned(), read(id, &node, environment));
    }
    declared
}

const KEYS: [&str; 13] = [
    "name",
    "url",
    "binding",
    "path",
    "openapi",
    "prefix",
    "era",
    "transport",
    "auth",
    "tools",
    "timeout_ms",
    "enabled",
    "alias",
];

fn read(id: &str, node: &Node<'_, '_>, environment: &Environment) -> DeclaredServer {
    let Some(table) = node.table(&KEYS) else {
        return DeclaredServer {
            prefix: None,
            server: None,
        };
    };
    let name = table.get("name").and_then(|node| node.text(NAME_CHARS_MAX));
    let target = target::read(&table, environment);
    let prefix = match table.get("prefix") {
        None => Some(id.to_owned()),
        Some(node) => read_prefix(&node),
    };
    if prefix.as_deref().is_some_and(is_reserved) {
        let at = table.get("prefix").unwrap_or(*node);
        at.fault("`portal_...` names are the portal's own tools; choose another prefix");
    }
    let auth = table
        .get("auth")
        .map(|node| auth::read(&node, target.as_ref(), environment));
    let tools = table.get("tools").map(|node| tools::read(&node));
    let timeout_ms = table
        .get("timeout_ms")
        .and_then(|node| node.integer(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX, "milliseconds"));
    let era = table.choice(
        "era",
        &[
            ("auto", EraChoice::Auto),
            ("legacy", EraChoice::Legacy),
            ("modern", EraChoice::Modern),
        ],
        EraChoice::default(),
    );
    let transport = read_transport(&table, era);
    let enabled = table.flag("enabled", true);
    let aliases = read_aliases(&table);
    let server = target.map(|target| {
        Rc::new(Server {
            id: id.to_owned(),
            name: name.unwrap_or(id).to_owned(),
            target,
            prefix: prefix.clone().unwrap_or_default(),
            era,
            transport,
            auth: auth.unwrap_or_default(),
            tools: tools.unwrap_or_default(),
            aliases,
            timeout_ms: timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT),
            enabled,
        })
    });
    DeclaredServer { prefix, server }
}

fn read_transport(table: &Table<'_, '_>, era: EraChoice) -> Transport {
    let transport = table.choice(
        "transport",
        &[
            ("auto", Transport::Auto),
            ("streamable_http", Transport::StreamableHttp),
            ("http_sse", Transport::HttpSse),
        ],
        Transport::default(),
    );
    if transport == Transport::HttpSse && era == EraChoice::Modern {
        let at = table.get("transport").unwrap_or(*table.node());
        at.fault("`http_sse` is a transport of the legacy era; leave out `era` or write `auto` or `legacy`");
    }
    transport
}

fn read_prefix(node: &Node<'_, '_>) -> Option<String> {
    let prefix = node.any_text()?;
    if !name::is_prefix(prefix) {
        node.fault("a prefix is 1 to 40 of a-z, A-Z, 0-9, `_` and `-`, beginning with a letter or digit, or empty");
        return None;
    }
    Some(prefix.to_owned())
}

/// Prefixes under which a server could pass off a tool as the portal's own.
fn is_reserved(prefix: &str) -> bool {
    prefix == "portal" || prefix.starts_with("portal_")
}

fn read_aliases(table: &Table<'_, '_>) -> BTreeMap<String, Alias> {
    let mut aliases = BTreeMap::new();
    let Some(node) = table.get("alias") else {
        return aliases;
    };
    let entries = node.entries(ALIASES_PER_SERVER_MAX, "aliases");
    for (tool, node) in &entries {
        if tool.is_empty() || tool.chars().count() > TOOL_NAME_CHARS_MAX {
            node.fault(format!(
                "a tool's name has 1 to {TOOL_NAME_CHARS_MAX} characters"
            ));
        }
        if let Some(alias) = read_alias(node) {
            aliases.insert((*tool).to_owned(), alias);
        }
    }
    // What each aliased tool is called outside must differ, or one would answer for the other.
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for (tool, node) in &entries {
        let Some(alias) = aliases.get(*tool) else {
            continue;
        };
        let outside = alias.name.as_deref().unwrap_or(tool);
        if let Some(other) = taken.insert(outside, tool) {
            node.fault(format!(
                "the tools `{}` and `{}` would both be called `{}`",
                shown(other),
                shown(tool),
                shown(outside)
            ));
        }
    }
    aliases
}

fn read_alias(node: &Node<'_, '_>) -> Option<Alias> {
    let table = node.table(&["name", "description"])?;
    let name = table.get("name").and_then(|node| {
        let alias = node.any_text()?;
        if !name::is_alias(alias) {
            node.fault(
                "an alias is 1 to 40 letters and digits, in words joined by single `_` or `-`",
            );
            return None;
        }
        Some(alias.to_owned())
    });
    let description = table
        .get("description")
        .and_then(|node| node.prose(DESCRIPTION_CHARS_MAX));
    if table.keys().next().is_none() {
        node.fault("an alias has a `name`, a `description` or both");
    }
    Some(Alias {
        name,
        description: description.map(str::to_owned),
    })
}
