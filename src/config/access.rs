//! Access rules: who may use a portal.

use serde_json::Value;

use super::Environment;
use super::limits::{
    CLAIM_STEPS_MAX, CLAIM_VALUE_CHARS_MAX, EMAIL_CHARS_MAX, HOSTNAME_CHARS_MAX, NAME_CHARS_MAX,
    SELECTORS_PER_LIST_MAX,
};
use super::name;
use super::node::Node;

/// One rule of a portal's access list. It applies to a caller who matches any of `include`, all of `require` and
/// none of `exclude`. An empty access list admits nobody.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessRule {
    /// What happens to a caller to whom the rule applies.
    pub action: AccessAction,
    /// Any of these; never empty.
    pub include: Vec<Selector>,
    /// All of these.
    pub require: Vec<Selector>,
    /// None of these.
    pub exclude: Vec<Selector>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessAction {
    /// Admits the caller.
    Allow,
    /// Refuses the caller.
    Block,
    /// Admits without a sign-in.
    Bypass,
}

/// What a rule looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Selector {
    /// One person, by lower-case e-mail address.
    Email(String),
    /// Everybody with an address at this lower-case domain, subdomains not included.
    EmailDomain(String),
    /// Members of a group, from the document or from an identity provider's claims.
    Group(String),
    /// Everybody.
    Everyone,
    /// Everybody whose signed claim is exactly this value.
    Claim {
        /// The way into nested claims.
        path: Vec<String>,
        /// A string, number or boolean.
        value: Value,
    },
}

pub(super) fn read(node: &Node<'_, '_>, environment: &Environment) -> Option<AccessRule> {
    let table = node.table(&["action", "include", "require", "exclude"])?;
    let action = table.require("action").and_then(|node| {
        node.choice(&[
            ("allow", AccessAction::Allow),
            ("block", AccessAction::Block),
            ("bypass", AccessAction::Bypass),
        ])
    });
    let selectors = |key| table.list(key, SELECTORS_PER_LIST_MAX, read_selector);
    let (include, require, exclude) = (
        selectors("include"),
        selectors("require"),
        selectors("exclude"),
    );
    if table
        .get("include")
        .is_none_or(|list| list.value().as_array().is_some_and(Vec::is_empty))
    {
        node.fault("`include` names nobody, so the rule never applies; use { everyone = true } for everybody");
    }
    let open = action == Some(AccessAction::Bypass) && include.contains(&Selector::Everyone);
    if open && !environment.local_development {
        node.fault(
            "a `bypass` rule for everyone works in local development only (LOCAL_DEVELOPMENT)",
        );
    }
    Some(AccessRule {
        action: action?,
        include,
        require,
        exclude,
    })
}

const SELECTORS: [&str; 5] = ["email", "email_domain", "group", "everyone", "claim"];

fn read_selector(node: &Node<'_, '_>) -> Option<Selector> {
    let table = node.table(&SELECTORS)?;
    let mut keys = table.keys();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        node.fault("a selector has exactly one key: `email`, `email_domain`, `group`, `everyone` or `claim`");
        return None;
    };
    let value = table.get(key)?;
    match key {
        "email" => read_email(&value).map(Selector::Email),
        "email_domain" => read_domain(&value).map(Selector::EmailDomain),
        "group" => value
            .text(NAME_CHARS_MAX)
            .map(|group| Selector::Group(group.to_owned())),
        "everyone" => read_everyone(&value),
        "claim" => read_claim(&value),
        _ => None,
    }
}

pub(super) fn read_email(node: &Node<'_, '_>) -> Option<String> {
    let email = name::email(node.text(EMAIL_CHARS_MAX)?);
    if email.is_none() {
        node.fault("not an e-mail address");
    }
    email
}

fn read_domain(node: &Node<'_, '_>) -> Option<String> {
    let domain = node.text(HOSTNAME_CHARS_MAX)?.to_lowercase();
    if domain.contains('@') {
        node.fault("write the domain only, without `@`");
        return None;
    }
    if let Some(fault) = name::host_fault(&domain) {
        node.fault(fault);
        return None;
    }
    Some(domain)
}

fn read_everyone(node: &Node<'_, '_>) -> Option<Selector> {
    if node.flag()? {
        return Some(Selector::Everyone);
    }
    node.fault("`everyone` can only be true; leave the selector out instead");
    None
}

/// `name` is a dotted path, or a list of steps for claims whose own names have dots, such as URLs.
fn read_claim(node: &Node<'_, '_>) -> Option<Selector> {
    let table = node.table(&["name", "value"])?;
    let path = table.require("name").and_then(|name| read_path(&name));
    let value = table.require("value").and_then(|node| {
        match node.value() {
            Value::Bool(_) | Value::Number(_) => return Some(node.value().clone()),
            Value::String(text) if text.chars().count() <= CLAIM_VALUE_CHARS_MAX => {
                return Some(node.value().clone());
            }
            Value::String(_) => node.fault(format!(
                "at most {CLAIM_VALUE_CHARS_MAX} characters are accepted"
            )),
            _ => node.fault("a claim is compared with a string, a number or a boolean"),
        }
        None
    });
    Some(Selector::Claim {
        path: path?,
        value: value?,
    })
}

fn read_path(node: &Node<'_, '_>) -> Option<Vec<String>> {
    if node.value().is_array() {
        let items = node.items(CLAIM_STEPS_MAX, "steps");
        let steps: Option<Vec<String>> = items
            .iter()
            .map(|step| step.text(NAME_CHARS_MAX).map(str::to_owned))
            .collect();
        return if items.is_empty() {
            node.fault("a claim's name has at least one step");
            None
        } else {
            steps
        };
    }
    let steps: Vec<String> = node
        .text(NAME_CHARS_MAX)?
        .split('.')
        .map(str::to_owned)
        .collect();
    if steps.len() > CLAIM_STEPS_MAX {
        node.fault(format!(
            "at most {CLAIM_STEPS_MAX} steps into nested claims are accepted"
        ));
        return None;
    }
    if steps.iter().any(String::is_empty) {
        node.fault("a dotted claim name has no empty step; for a name with dots write a list: [\"https://...\"]");
        return None;
    }
    Some(steps)
}
