//! One server's listing as it was at one moment: parsed once, stored as JSON, served many times.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::param_headers::{self, ParamHeader};
use super::template::Template;
use crate::limits::{NAME_BYTES_MAX, REPLY_DEPTH_MAX, SERVER_ITEMS_MAX};
use crate::mcp::Era;
use crate::mcp::json::{Kind, Malformed, Reader};
use crate::mcp::version::Revision;

/// Which snapshot: a server's, shared by everybody or read for one principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotKey {
    /// The server's id.
    pub server: String,
    /// Empty for the shared snapshot, else the subject of the one principal it may be shown to.
    pub scope: String,
}

impl SnapshotKey {
    /// The shared snapshot of a server.
    #[must_use]
    pub fn shared(server: &str) -> Self {
        Self {
            server: server.to_owned(),
            scope: String::new(),
        }
    }

    /// A principal's own snapshot of a server.
    #[must_use]
    pub fn of(server: &str, subject: &str) -> Self {
        Self {
            server: server.to_owned(),
            scope: subject.to_owned(),
        }
    }
}

/// What a server said about itself.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one thing a server says about itself"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// It answers modern requests.
    pub modern: bool,
    /// The legacy revision it negotiates, where it answers `initialize`.
    pub legacy: Option<String>,
    /// Whether it was asked: a modern server is asked when the first legacy client calls it.
    pub legacy_asked: bool,
    /// It serves completions.
    pub completions: bool,
    /// It accepts resource subscriptions.
    pub subscribe: bool,
    /// It sends log messages.
    pub logging: bool,
    /// Its own words to models.
    pub instructions: Option<String>,
    /// Its own name and version, for display.
    pub title: Option<String>,
    /// Its listings differ between principals.
    pub private: bool,
    /// It declares the tasks extension in the modern era. Snapshots stored before this was asked do not say.
    #[serde(default)]
    pub tasks: bool,
    /// It speaks HTTP+SSE, the transport of 2024-11-05. Not written where it does not, as in snapshots of before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub events: bool,
}

impl Facts {
    /// The era to speak with the server on behalf of a client of `client` era: the client's own where the server has it.
    #[must_use]
    pub fn era_for(&self, client: Era) -> Option<Era> {
        match (client, self.modern, self.legacy.is_some()) {
            (Era::Modern, true, _) | (Era::Legacy, true, false) => Some(Era::Modern),
            (_, _, true) => Some(Era::Legacy),
            (_, false, false) => None,
        }
    }

    /// The revision to speak in an era.
    #[must_use]
    pub fn revision(&self, era: Era) -> Revision {
        match era {
            Era::Modern => Revision::LATEST_MODERN,
            Era::Legacy => self
                .legacy
                .as_deref()
                .and_then(Revision::parse)
                .unwrap_or(Revision::LATEST_LEGACY),
        }
    }
}

/// A tool, prompt, resource or template as the server described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// `name` of a tool or prompt, `uri` of a resource, `uriTemplate` of a template.
    pub key: String,
    /// The description as JSON text.
    pub text: Box<str>,
    /// Where `text` spells the key.
    pub key_at: Range<usize>,
    /// Where `text` spells `description`, where it has one.
    pub description_at: Option<Range<usize>>,
    /// `annotations.readOnlyHint` is true.
    pub read_only: bool,
    /// Arguments the server wants mirrored in headers.
    pub headers: Vec<ParamHeader>,
}

/// Which listing an item belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `tools/list`
    Tools,
    /// `prompts/list`
    Prompts,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
}

impl Listing {
    /// All four, in the order they are synced.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The method that lists it.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the items.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that identifies it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// A server's listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Whose it is.
    pub key: SnapshotKey,
    /// What the server said about itself.
    pub facts: Facts,
    /// Its tools, in its order.
    pub tools: Vec<Item>,
    /// Its prompts.
    pub prompts: Vec<Item>,
    /// Its resources.
    pub resources: Vec<Item>,
    /// Its resource templates.
    pub templates: Vec<Item>,
    /// What was left out and why.
    pub warnings: Vec<String>,
    /// Unix milliseconds.
    pub fetched_at_ms: u64,
    /// How long it may be called fresh.
    pub ttl_ms: u64,
    /// Whether the server said so itself.
    pub ttl_given: bool,
    tool_index: HashMap<String, usize>,
    matchers: Vec<Template>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    server: String,
    scope: String,
    facts: Facts,
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(borrow)]
    prompts: Vec<&'a RawValue>,
    #[serde(borrow)]
    resources: Vec<&'a RawValue>,
    #[serde(borrow)]
    templates: Vec<&'a RawValue>,
    warnings: Vec<String>,
    fetched_at_ms: u64,
    ttl_ms: u64,
    #[serde(default)]
    ttl_given: bool,
}

impl Snapshot {
    /// An empty snapshot, to be filled with [`Self::take_page`].
    #[must_use]
    pub fn empty(key: SnapshotKey, facts: Facts, fetched_at_ms: u64, ttl_ms: u64) -> Self {
        Self {
            key,
            facts,
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            warnings: Vec::new(),
            fetched_at_ms,
            ttl_ms,
            ttl_given: false,
            tool_index: HashMap::new(),
            matchers: Vec::new(),
        }
    }

    /// Whether it may still be called fresh.
    #[must_use]
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms < self.fetched_at_ms.saturating_add(self.ttl_ms)
    }

    /// The items of one listing.
    #[must_use]
    pub fn items(&self, listing: Listing) -> &[Item] {
        match listing {
            Listing::Tools => &self.tools,
            Listing::Prompts => &self.prompts,
            Listing::Resources => &self.resources,
            Listing::Templates => &self.templates,
        }
    }

    /// A tool by the server's own name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&Item> {
        self.tools.get(*self.tool_index.get(name)?)
    }

    /// A prompt by the server's own name.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<&Item> {
        self.prompts.iter().find(|item| item.key == name)
    }

    /// Whether the server listed a resource: by URI, or by a template that matches it.
    #[must_use]
    pub fn lists_resource(&self, uri: &str) -> Option<Match> {
        if self.resources.iter().any(|item| item.key == uri) {
            return Some(Match::Exact);
        }
        self.matchers
            .iter()
            .any(|template| template.matches(uri))
            .then_some(Match::Template)
    }

    /// Adds one item of a listing; what cannot be used is left out with a warning.
    pub fn take(&mut self, listing: Listing, text: &str) {
        let count = self.items(listing).len();
        if count >= SERVER_ITEMS_MAX {
            if count == SERVER_ITEMS_MAX {
                self.warn(format!(
                    "{} holds more than {SERVER_ITEMS_MAX} items; the rest is left out",
                    listing.method()
                ));
            }
            return;
        }
        let item = match Item::parse(listing, text) {
            Ok(item) => item,
            Err(reason) => {
                return self.warn(format!(
                    "{}: an item was left out: {reason}",
                    listing.method()
                ));
            }
        };
        let is_duplicate = match listing {
            Listing::Tools => self.tool_index.contains_key(&item.key),
            _ => self
                .items(listing)
                .iter()
                .any(|other| other.key == item.key),
        };
        if is_duplicate {
            return self.warn(format!(
                "{}: '{}' is listed twice; the first one counts",
                listing.method(),
                item.key
            ));
        }
        match listing {
            Listing::Tools => {
                self.tool_index.insert(item.key.clone(), self.tools.len());
                self.tools.push(item);
            }
            Listing::Prompts => self.prompts.push(item),
            Listing::Resources => self.resources.push(item),
            Listing::Templates => {
                self.matchers.push(Template::parse(&item.key));
                self.templates.push(item);
            }
        }
    }

    fn warn(&mut self, warning: String) {
        const WARNINGS_MAX: usize = 50;
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        }
    }

    /// The stored form.
    #[must_use]
    pub fn to_json(&self) -> String {
        fn raw(items: &[Item]) -> Vec<&RawValue> {
            items
                .iter()
                .filter_map(|item| serde_json::from_str(&item.text).ok())
                .collect()
        }
        let stored = Stored {
            server: self.key.server.clone(),
            scope: self.key.scope.clone(),
            facts: self.facts.clone(),
            tools: raw(&self.tools),
            prompts: raw(&self.prompts),
            resources: raw(&self.resources),
            templates: raw(&self.templates),
            warnings: self.warnings.clone(),
            fetched_at_ms: self.fetched_at_ms,
            ttl_ms: self.ttl_ms,
            ttl_given: self.ttl_given,
        };
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// From the stored form; nothing where it was written by a version that stored something else.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_str(text).ok()?;
        let key = SnapshotKey {
            server: stored.server,
            scope: stored.scope,
        };
        let mut snapshot = Self::empty(key, stored.facts, stored.fetched_at_ms, stored.ttl_ms);
        let listings = [
            (Listing::Tools, stored.tools),
            (Listing::Prompts, stored.prompts),
            (Listing::Resources, stored.resources),
            (Listing::Templates, stored.templates),
        ];
        for (listing, items) in listings {
            for item in items {
                snapshot.take(listing, item.get());
            }
        }
        snapshot.warnings = stored.warnings;
        snapshot.ttl_given = stored.ttl_given;
        Some(snapshot)
    }

    /// The digest of a listing without items.
    pub const EMPTY_DIGEST: u64 = 0;

    /// A digest of what a client would see of one listing, to tell whether it changed.
    #[must_use]
    pub fn digest(&self, listing: Listing) -> u64 {
        use std::hash::{Hash as _, Hasher as _};
        if self.items(listing).is_empty() {
            return Self::EMPTY_DIGEST;
        }
        let mut hasher = std::hash::DefaultHasher::new();
        for item in self.items(listing) {
            item.text.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// How a resource was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It is listed by its URI.
    Exact,
    /// It fits a listed template.
    Template,
}

impl Item {
    fn parse(listing: Listing, text: &str) -> Result<Self, String> {
        let malformed = |fault: Malformed| fault.to_string();
        let mut reader = Reader::new(text.as_bytes(), REPLY_DEPTH_MAX).map_err(malformed)?;
        let mut key = None;
        let mut description_at = None;
        let mut read_only = false;
        let mut schema = None;
        reader
            .object(|reader, member| {
                match &*member {
                    name if name == listing.key() => {
                        let kind = reader.kind()?;
                        let raw = reader.raw()?;
                        if kind == Kind::String {
                            let value = Reader::again(raw, 1).string()?;
                            key = Some((value.into_owned(), raw.start..raw.end));
                        }
                    }
                    "description" => {
                        let raw = reader.raw()?;
                        description_at = Some(raw.start..raw.end);
                    }
                    "annotations"
                        if listing == Listing::Tools && reader.kind()? == Kind::Object =>
                    {
                        reader.object(|reader, hint| {
                            if hint == "readOnlyHint" {
                                read_only = reader.raw()?.text == "true";
                            }
                            Ok(())
                        })?;
                    }
                    "inputSchema" if listing == Listing::Tools => schema = Some(reader.raw()?.text),
                    _ => reader.skip()?,
                }
                Ok(())
            })
            .map_err(malformed)?;
        let (key, key_at) = key.ok_or_else(|| format!("it has no {}", listing.key()))?;
        if key.is_empty() || key.len() > NAME_BYTES_MAX {
            return Err(format!(
                "its {} is empty or longer than {NAME_BYTES_MAX} bytes",
                listing.key()
            ));
        }
        let headers = match schema {
            Some(schema) if schema.contains(param_headers::KEYWORD) => {
                param_headers::parse(schema).map_err(|reason| format!("'{key}': {reason}"))?
            }
            _ => Vec::new(),
        };
        Ok(Self {
            key,
            text: text.into(),
            key_at,
            description_at,
            read_only,
            headers,
        })
    }
}

#[cfg(test)]
mod tests;
