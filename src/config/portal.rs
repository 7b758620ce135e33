//! Portals: which servers stand behind one address, and who may come in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::Environment;
use super::access::{self, AccessRule};
use super::limits::{
    AUDIENCE_CHARS_MAX, AUDIENCES_PER_PORTAL_MAX, HOSTNAMES_PER_PORTAL_MAX, NAME_CHARS_MAX,
    PORTALS_MAX, RULES_PER_PORTAL_MAX, SERVERS_PER_PORTAL_MAX,
};
use super::name;
use super::node::{Node, Table, shown};
use super::server::{Declared, Server};
use super::spelling::nearest;
use super::tools::{self, ToolRules};

/// One address for many servers.
#[derive(Debug, Clone)]
pub struct Portal {
    /// Its key in the document.
    pub id: String,
    /// For people; the id when the document has none.
    pub name: String,
    /// Lower-case host names it answers under; none when it is reached by path only.
    pub hostnames: Vec<String>,
    /// In listing order.
    pub servers: Vec<PortalServer>,
    /// Accepted `aud` values besides the portal's own.
    pub audience: Vec<String>,
    /// Who may come in; empty admits nobody.
    pub access: Vec<AccessRule>,
    /// Whether tools are offered as code.
    pub code_mode: CodeMode,
    /// Whether messages are looked at.
    pub inspect: Inspect,
    /// Whether the portal's own tools are listed.
    pub portal_tools: bool,
}

/// A server as one portal has it.
#[derive(Debug, Clone)]
pub struct PortalServer {
    /// The server.
    pub server: Rc<Server>,
    /// The rules that hold here: the portal's own for this server, or else the server's.
    pub tools: ToolRules,
}

/// Whether a portal offers its tools one by one or as code to be written against them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CodeMode {
    /// Never.
    #[default]
    Off,
    /// When the client asks.
    OptIn,
    /// Unless the client declines.
    DefaultOn,
    /// Always.
    Enforced,
    /// When the listing is large.
    Auto,
}

/// What is done with messages on their way to and from servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Inspect {
    /// They pass unread.
    #[default]
    Off,
    /// The audit says how much text each call moved each way.
    Log,
}

impl Portal {
    /// One of its servers.
    #[must_use]
    pub fn server(&self, id: &str) -> Option<&PortalServer> {
        self.servers.iter().find(|entry| entry.server.id == id)
    }

    /// The servers an exposed name may belong to, longest prefix first, each with what is left of the name. Prefixes
    /// may contain one another (`git` and `git_lab`), so a name can have several readings. A server without a prefix
    /// yields the whole name.
    pub fn by_prefix<'s, 'n>(
        &'s self,
        exposed_name: &'n str,
    ) -> impl Iterator<Item = (&'s PortalServer, &'n str)> + use<'s, 'n> {
        let mut readings: Vec<_> = self
            .servers
            .iter()
            .filter_map(|entry| Some((entry, rest_after(&entry.server.prefix, exposed_name)?)))
            .collect();
        readings.sort_by_key(|(entry, _)| Reverse(entry.server.prefix.len()));
        readings.into_iter()
    }
}

fn rest_after<'n>(prefix: &str, name: &'n str) -> Option<&'n str> {
    let rest = if prefix.is_empty() {
        name
    } else {
        name.strip_prefix(prefix)?.strip_prefix('_')?
    };
    (!rest.is_empty()).then_some(rest)
}

pub(super) fn read_all(
    node: &Node<'_, '_>,
    declared: &Declared,
    environment: &Environment,
) -> Vec<Rc<Portal>> {
    let mut hosts: HashMap<String, String> = HashMap::new();
    let mut portals = Vec::new();
    for (id, node) in node.entries(PORTALS_MAX, "portals") {
        if !name::is_id(id) {
            node.fault(format!(
                "`{}` is not a portal id: {}",
                shown(id),
                name::ID_RULE
            ));
        }
        let known = [
            "name",
            "hostnames",
            "servers",
            "code_mode",
            "inspect",
            "audience",
            "portal_tools",
            "access",
            "tools",
        ];
        let Some(table) = node.table(&known) else {
            continue;
        };
        portals.push(Rc::new(read(id, &table, declared, &mut hosts, environment)));
    }
    portals
}

fn read(
    id: &str,
    table: &Table<'_, '_>,
    declared: &Declared,
    hosts: &mut HashMap<String, String>,
    environment: &Environment,
) -> Portal {
    let name = table.get("name").and_then(|node| node.text(NAME_CHARS_MAX));
    Portal {
        id: id.to_owned(),
        name: name.unwrap_or(id).to_owned(),
        hostnames: table.list("hostnames", HOSTNAMES_PER_PORTAL_MAX, |node| {
            read_host(node, id, hosts)
        }),
        servers: read_servers(table, declared),
        audience: table.list("audience", AUDIENCES_PER_PORTAL_MAX, |node| {
            node.text(AUDIENCE_CHARS_MAX).map(str::to_owned)
        }),
        access: table.list("access", RULES_PER_PORTAL_MAX, |node| {
            access::read(node, environment)
        }),
        code_mode: table.choice(
            "code_mode",
            &[
                ("off", CodeMode::Off),
                ("opt_in", CodeMode::OptIn),
                ("default_on", CodeMode::DefaultOn),
                ("enforced", CodeMode::Enforced),
                ("auto", CodeMode::Auto),
            ],
            CodeMode::default(),
        ),
        inspect: table.choice(
            "inspect",
            &[("off", Inspect::Off), ("log", Inspect::Log)],
            Inspect::default(),
        ),
        portal_tools: table.flag("portal_tools", true),
    }
}

/// `hosts` remembers which portal has which name.
fn read_host(
    node: &Node<'_, '_>,
    portal: &str,
    hosts: &mut HashMap<String, String>,
) -> Option<String> {
    let host = node.any_text()?;
    if let Some(fault) = name::host_fault(host) {
        node.fault(fault);
        return None;
    }
    if let Some(other) = hosts.insert(host.to_owned(), portal.to_owned()) {
        node.fault(format!(
            "the host name `{host}` already belongs to the portal `{}`",
            shown(&other)
        ));
    }
    Some(host.to_owned())
}

fn read_servers(portal: &Table<'_, '_>, declared: &Declared) -> Vec<PortalServer> {
    let mut rules = read_rules(portal);
    let mut prefixes: HashMap<&str, &str> = HashMap::new();
    let mut ids: HashSet<&str> = HashSet::new();
    let mut servers = Vec::new();
    let listed = portal.get("servers");
    let items = listed
        .as_ref()
        .map(|node| node.items(SERVERS_PER_PORTAL_MAX, "servers"))
        .unwrap_or_default();
    for node in &items {
        let Some(id) = node.any_text() else { continue };
        let Some(found) = declared.get(id) else {
            let hint = nearest(id, declared.ids()).map(|near| format!("; did you mean `{near}`?"));
            node.fault(format!(
                "there is no server `{}`{}",
                shown(id),
                hint.unwrap_or_default()
            ));
            // Its rules have nothing else wrong with them.
            rules.remove(id);
            continue;
        };
        if !ids.insert(id) {
            node.fault(format!("the server `{}` is listed twice", shown(id)));
            continue;
        }
        if let Some(prefix) = found.prefix.as_deref() {
            judge_prefix(node, id, prefix, items.len(), &mut prefixes);
        }
        let own = rules.remove(id).map(|(_, rules)| rules);
        if let Some(server) = &found.server {
            let tools = own.unwrap_or_else(|| server.tools.clone());
            servers.push(PortalServer {
                server: Rc::clone(server),
                tools,
            });
        }
    }
    for (id, (pointer, _)) in rules {
        let message = format!(
            "the portal has no server `{}`, so these rules would hold for nothing",
            shown(id)
        );
        portal.node().fault_at(&pointer, message);
    }
    servers
}

fn judge_prefix<'d>(
    node: &Node<'_, '_>,
    id: &'d str,
    prefix: &'d str,
    count: usize,
    prefixes: &mut HashMap<&'d str, &'d str>,
) {
    if prefix.is_empty() && count > 1 {
        node.fault(format!(
            "the server `{}` has no prefix, so it must be its portal's only server; give it a prefix",
            shown(id)
        ));
    } else if let Some(other) = prefixes.insert(prefix, id) {
        node.fault(format!(
            "the servers `{}` and `{}` have the same prefix `{prefix}`; give one of them another",
            shown(other),
            shown(id)
        ));
    }
}

/// The portal's own rules by server id, each with the pointer it was found at.
fn read_rules<'v>(portal: &Table<'v, '_>) -> BTreeMap<&'v str, (String, ToolRules)> {
    let Some(node) = portal.get("tools") else {
        return BTreeMap::new();
    };
    let entries = node.entries(SERVERS_PER_PORTAL_MAX, "servers");
    entries
        .iter()
        .map(|(id, node)| (*id, (node.pointer(), tools::read(node))))
        .collect()
}
