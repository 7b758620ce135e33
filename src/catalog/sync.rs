//! Fetching a server's listing: which eras it speaks, then its tools, prompts, resources and templates.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::probe::{Way, probe};
use super::snapshot::{Facts, Listing, Snapshot, SnapshotKey};
use crate::config::{EraChoice, Server};
use crate::error::{METHOD_NOT_FOUND, UNSUPPORTED_VERSION, UpstreamFault};
use crate::limits::{
    FAN_OUT_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_TTL_DEFAULT_MS, SNAPSHOT_TTL_MAX_MS,
    SNAPSHOT_TTL_MIN_MS, SYNC_DEADLINE_MS, UPSTREAM_PAGES_MAX,
};
use crate::mcp::{Era, Revision, task};
use crate::policy::{Permit, permit_sync};
use crate::portal::ports::Ports;
use crate::upstream::body::own_request;
use crate::upstream::rpc::{self, Answer, Answered, Question};
use crate::upstream::session::{self, Initialized};
use crate::upstream::{is_settled, modern_request};

const DISCOVER_ID: &str = "portcullis-discover";
const LIST_ID: &str = "portcullis-list";

/// One server's snapshot, or why there is none.
pub type Found = Result<Rc<Snapshot>, UpstreamFault>;

/// The snapshots of several servers for one principal, in the order asked: from memory and the store, and from the
/// servers where they are missing, six at a time under one deadline.
pub async fn snapshots<P: Ports>(ports: &P, servers: &[Rc<Server>], subject: &str) -> Vec<Found> {
    let shared: Vec<SnapshotKey> = servers
        .iter()
        .map(|server| SnapshotKey::shared(&server.id))
        .collect();
    let stored = ports.snapshots(&shared).await;
    let deadline_ms = ports.now_ms().saturating_add(SYNC_DEADLINE_MS);
    // Not in order: a server that hangs would hold back all that come after it.
    let mut found: Vec<(usize, Found)> =
        futures::stream::iter(servers.iter().zip(stored).enumerate())
            .map(|(index, (server, stored))| async move {
                let wanted = Wanted {
                    ports,
                    server,
                    subject,
                    deadline_ms,
                };
                (index, wanted.snapshot(stored, &|_| true).await)
            })
            .buffer_unordered(FAN_OUT_MAX)
            .collect()
            .await;
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// One server's snapshot for one principal.
///
/// # Errors
/// Why the server has none.
pub async fn snapshot<P: Ports>(ports: &P, server: &Rc<Server>, subject: &str) -> Found {
    snapshot_with(ports, server, subject, &|_| true).await
}

/// One server's snapshot for one principal, fetched anew where an old one lacks what is looked for.
///
/// # Errors
/// Why the server has none.
pub async fn snapshot_with<P: Ports>(
    ports: &P,
    server: &Rc<Server>,
    subject: &str,
    has: &dyn Fn(&Snapshot) -> bool,
) -> Found {
    let stored = ports.snapshot(&SnapshotKey::shared(&server.id)).await;
    let deadline_ms = ports.now_ms().saturating_add(SYNC_DEADLINE_MS);
    let wanted = Wanted {
        ports,
        server,
        subject,
        deadline_ms,
    };
    wanted.snapshot(stored, has).await
}

/// Whose snapshot of which server, and until when.
struct Wanted<'a, P: Ports> {
    ports: &'a P,
    server: &'a Rc<Server>,
    subject: &'a str,
    deadline_ms: u64,
}

impl<P: Ports> Wanted<'_, P> {
    async fn snapshot(
        &self,
        shared: Option<Rc<Snapshot>>,
        has: &dyn Fn(&Snapshot) -> bool,
    ) -> Found {
        let Self {
            ports,
            server,
            subject,
            ..
        } = *self;
        let (key, stored) = match shared {
            Some(shared) if shared.facts.private => {
                let own = SnapshotKey::of(&server.id, subject);
                let stored = ports.snapshot(&own).await;
                (own, stored)
            }
            shared => (SnapshotKey::shared(&server.id), shared),
        };
        match stored {
            Some(snapshot) if snapshot.is_fresh(ports.now_ms()) => Ok(snapshot),
            // Outdated by the server's own word, or without what is looked for: what is stored is the last resort.
            Some(snapshot) if snapshot.fetched_at_ms == 0 || !has(&snapshot) => {
                if ports.recent_failure(&key).is_some() {
                    return Ok(snapshot);
                }
                let fetched = self.refresh(key, Some(snapshot.clone())).await;
                Ok(fetched.unwrap_or(snapshot))
            }
            // Merely old: it serves, and the next request finds a newer one.
            Some(snapshot) => {
                if ports.claim_sync(&key) {
                    let (task_ports, server, subject) =
                        (ports.clone(), server.clone(), subject.to_owned());
                    let old = snapshot.clone();
                    ports.spawn(Box::pin(async move {
                        let _ = refresh(&task_ports, &server, key, &subject, Some(old)).await;
                    }));
                }
                Ok(snapshot)
            }
            None => match ports.recent_failure(&key) {
                Some(fault) => Err(fault),
                None => self.refresh(key, None).await,
            },
        }
    }

    /// Fetches within the deadline.
    async fn refresh(&self, key: SnapshotKey, old: Option<Rc<Snapshot>>) -> Found {
        let ports = self.ports;
        let left_ms = self.deadline_ms.saturating_sub(ports.now_ms());
        let work = refresh(ports, self.server, key.clone(), self.subject, old);
        let alarm = std::pin::pin!(ports.sleep_ms(left_ms));
        match select(std::pin::pin!(work), alarm).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => {
                let fault = UpstreamFault::TimedOut(SYNC_DEADLINE_MS);
                ports.note_failure(&key, fault.clone());
                Err(fault)
            }
        }
    }
}

/// Fetches a server's listing and stores it.
///
/// # Errors
/// Why the server has none; noted, so that it is not asked again at once.
pub async fn refresh<P: Ports>(
    ports: &P,
    server: &Rc<Server>,
    key: SnapshotKey,
    subject: &str,
    old: Option<Rc<Snapshot>>,
) -> Found {
    match fetch(ports, server, old.as_deref().map(|old| &old.facts)).await {
        Ok(mut snapshot) => {
            if snapshot.facts.private && !subject.is_empty() {
                let marker = Snapshot::empty(
                    SnapshotKey::shared(&server.id),
                    snapshot.facts.clone(),
                    snapshot.fetched_at_ms,
                    SNAPSHOT_TTL_MAX_MS,
                );
                ports.store_snapshot(Rc::new(marker)).await;
                snapshot.key = SnapshotKey::of(&server.id, subject);
            } else {
                snapshot.key = SnapshotKey::shared(&server.id);
            }
            let snapshot = Rc::new(snapshot);
            ports.store_snapshot(snapshot.clone()).await;
            Ok(snapshot)
        }
        Err(fault) => {
            ports.note_failure(&key, fault.clone());
            Err(fault)
        }
    }
}

async fn fetch<P: Ports>(
    ports: &P,
    server: &Server,
    known: Option<&Facts>,
) -> Result<Snapshot, UpstreamFault> {
    let permit = permit_sync(&server.id);
    let (facts, mut way) = probe(ports, &permit, server, known).await?;
    lists(ports, &permit, server, facts, &mut way).await
}

/// What the modern question says of a server.
pub(super) enum Modern {
    /// It is modern.
    Is(Box<Facts>),
    /// It is not.
    IsNot,
    /// It takes no such request at this address.
    IsAbsent,
}

pub(super) async fn modern_facts<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
    known: Option<&Facts>,
) -> Result<Modern, UpstreamFault> {
    let mut discovered = discover(ports, permit, server).await?;
    if let Modern::Is(facts) = &mut discovered {
        facts.legacy = known.and_then(|known| known.legacy.clone());
        facts.legacy_asked = known.is_some_and(|known| known.legacy_asked);
    }
    Ok(discovered)
}

/// Asks a modern server whether it also answers `initialize`, so that a legacy client can be asked things through it.
/// Asked once: the answer is kept with the snapshot.
pub async fn ask_legacy<P: Ports>(
    ports: &P,
    server: &Server,
    snapshot: &Rc<Snapshot>,
) -> Rc<Snapshot> {
    let facts = &snapshot.facts;
    if !facts.modern || facts.legacy_asked || server.era != EraChoice::Auto {
        return snapshot.clone();
    }
    let permit = permit_sync(&server.id);
    let mut asked = (**snapshot).clone();
    asked.facts.legacy_asked = true;
    match session::probe(ports, &permit, server).await {
        Ok((opened, _)) => {
            asked.facts.legacy = Some(opened.revision.as_str().to_owned());
            session::end_soon(ports, server, &opened);
        }
        Err(fault) if is_settled(&fault) => {}
        Err(_) => return snapshot.clone(),
    }
    let asked = Rc::new(asked);
    ports.store_snapshot(asked.clone()).await;
    asked
}

/// What a server answers to `server/discover`, as far as the portal reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    #[serde(default)]
    supported_versions: Vec<String>,
    #[serde(default)]
    capabilities: serde_json::Value,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default, rename = "_meta")]
    meta: serde_json::Value,
}

/// Asks the modern question. Any answer but a modern one says that the server is not modern
/// (MCP 2026-07-28, basic/transports, "Backward Compatibility").
async fn discover<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
) -> Result<Modern, UpstreamFault> {
    let mut answered = ask_discover(ports, permit, server).await?;
    if offers_our_revision(&answered) {
        answered = ask_discover(ports, permit, server).await?;
    }
    let Some(Answer::Result(result)) = &answered.answer else {
        return if is_no_era_question(&answered) {
            answered.into_result().map(|_| Modern::IsNot)
        } else if answered.says_absent() {
            Ok(Modern::IsAbsent)
        } else {
            Ok(Modern::IsNot)
        };
    };
    let Ok(found) = serde_json::from_str::<Discovered>(result) else {
        return Ok(Modern::IsNot);
    };
    if !found
        .supported_versions
        .iter()
        .any(|version| version == Revision::LATEST_MODERN.as_str())
    {
        return Ok(Modern::IsNot);
    }
    let name = found
        .meta
        .get("io.modelcontextprotocol/serverInfo")
        .cloned()
        .unwrap_or_default();
    let mut facts = capabilities(&found.capabilities, &name, found.instructions);
    facts.modern = true;
    facts.tasks = task::is_declared_in(&found.capabilities);
    Ok(Modern::Is(Box::new(facts)))
}

async fn ask_discover<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
) -> Result<Answered, UpstreamFault> {
    let body = own_request(DISCOVER_ID, "server/discover", "", Era::Modern);
    let request = modern_request(server, "server/discover", None, Vec::new(), body);
    let question = Question {
        id: DISCOVER_ID,
        request,
    };
    rpc::ask(ports, permit, server, question).await
}

/// A server may refuse a revision and name it as supported in one breath; it is then asked once more (MCP 2026-07-28,
/// basic/versioning, "Protocol Version Negotiation").
fn offers_our_revision(answered: &Answered) -> bool {
    let Some(Answer::Error(error)) = &answered.answer else {
        return false;
    };
    let error: serde_json::Value = serde_json::from_str(error).unwrap_or_default();
    let supported = error
        .pointer("/data/supported")
        .and_then(serde_json::Value::as_array);
    error.get("code") == Some(&serde_json::json!(UNSUPPORTED_VERSION))
        && supported.is_some_and(|list| {
            list.iter()
                .any(|version| version == Revision::LATEST_MODERN.as_str())
        })
}

/// Statuses that say nothing about the era: the server would refuse the legacy question for the same reason.
fn is_no_era_question(answered: &Answered) -> bool {
    answered.answer.is_none() && matches!(answered.status, 300..=399 | 401 | 403 | 429 | 500..=599)
}

pub(super) fn legacy_facts(revision: Revision, initialized: Initialized) -> Facts {
    let mut facts = capabilities(
        &initialized.capabilities,
        &initialized.server_info,
        initialized.instructions,
    );
    facts.legacy = Some(revision.as_str().to_owned());
    facts
}

fn capabilities(
    declared: &serde_json::Value,
    info: &serde_json::Value,
    instructions: Option<String>,
) -> Facts {
    const INSTRUCTIONS_CHARS_MAX: usize = 4_000;
    let text = |key: &str| info.get(key).and_then(serde_json::Value::as_str);
    Facts {
        completions: declared.get("completions").is_some(),
        subscribe: declared.pointer("/resources/subscribe") == Some(&serde_json::Value::Bool(true)),
        logging: declared.get("logging").is_some(),
        instructions: instructions.map(|text| text.chars().take(INSTRUCTIONS_CHARS_MAX).collect()),
        title: text("title")
            .or_else(|| text("name"))
            .map(|text| text.chars().take(200).collect()),
        ..Facts::default()
    }
}

fn is_method_not_found(answered: &Answered) -> bool {
    let Some(Answer::Error(error)) = &answered.answer else {
        return false;
    };
    let error: serde_json::Value = serde_json::from_str(error).unwrap_or_default();
    error.get("code") == Some(&METHOD_NOT_FOUND.into())
}

/// One page of a listing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow, default)]
    tools: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    prompts: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    resources: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    resource_templates: Vec<&'a RawValue>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    ttl_ms: Option<f64>,
    #[serde(default)]
    cache_scope: Option<String>,
}

async fn lists<P: Ports>(
    ports: &P,
    permit: &Permit,
    server: &Server,
    facts: Facts,
    way: &mut Way<'_, P>,
) -> Result<Snapshot, UpstreamFault> {
    let mut snapshot = Snapshot::empty(SnapshotKey::shared(&server.id), facts, ports.now_ms(), 0);
    let mut ttl_ms: Option<u64> = None;
    let mut bytes = 0_usize;
    for listing in Listing::ALL {
        let mut cursor: Option<String> = None;
        for page_index in 0.. {
            if page_index >= UPSTREAM_PAGES_MAX {
                return Err(UpstreamFault::BadAnswer("a listing with too many pages"));
            }
            let members = cursor.as_ref().map_or_else(String::new, |cursor| {
                format!("\"cursor\":{}", serde_json::Value::String(cursor.clone()))
            });
            let question = (LIST_ID, listing.method(), members.as_str());
            let answered = way.ask(ports, permit, server, question).await?;
            // A server without a kind of thing has no such method. Any other error is no empty listing.
            if page_index == 0 && is_method_not_found(&answered) {
                break;
            }
            let result = answered.into_result()?;
            bytes = bytes.saturating_add(result.len());
            if bytes > SNAPSHOT_BYTES_MAX {
                return Err(UpstreamFault::TooLarge);
            }
            let page: Page<'_> = serde_json::from_str(&result)
                .map_err(|_| UpstreamFault::BadAnswer("a listing of another shape"))?;
            if let Some(page_ttl_ms) = page.ttl_ms {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    clippy::cast_sign_loss,
                    reason = "clamped to the bounds"
                )]
                let page_ttl_ms = page_ttl_ms
                    .clamp(SNAPSHOT_TTL_MIN_MS as f64, SNAPSHOT_TTL_MAX_MS as f64)
                    as u64;
                ttl_ms = Some(ttl_ms.map_or(page_ttl_ms, |ttl_ms| ttl_ms.min(page_ttl_ms)));
            }
            snapshot.facts.private |= page.cache_scope.as_deref() == Some("private");
            let items = match listing {
                Listing::Tools => page.tools,
                Listing::Prompts => page.prompts,
                Listing::Resources => page.resources,
                Listing::Templates => page.resource_templates,
            };
            for item in items {
                snapshot.take(listing, item.get());
            }
            match page.next_cursor {
                Some(next) if !next.is_empty() && cursor.as_ref() != Some(&next) => {
                    cursor = Some(next);
                }
                _ => break,
            }
        }
    }
    snapshot.ttl_ms = ttl_ms.unwrap_or(SNAPSHOT_TTL_DEFAULT_MS);
    snapshot.ttl_given = ttl_ms.is_some();
    Ok(snapshot)
}
