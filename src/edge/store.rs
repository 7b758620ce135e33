//! D1: the epoch, the active configuration, stored snapshots.

use std::rc::Rc;

use serde::Deserialize;
use wasm_bindgen::JsValue;
use worker::{D1Database, Env};

use super::ports::now_ms;
use super::{isolate, urls, web};
use crate::catalog::{Snapshot, SnapshotKey};
use crate::config::{self, ConfigError, Environment};
use crate::limits::{EPOCH_AGE_MAX_MS, STORE_OUTAGE_READS_MS};
use crate::portal::caller::Active;

/// Largest part of a snapshot in one row; D1 takes 2 MB.
const PART_BYTES_MAX: usize = 1_000_000;

/// Snapshots an isolate keeps in memory.
const SNAPSHOTS_MAX: usize = 2_000;

fn database(env: &Env) -> Option<D1Database> {
    env.d1("DB").ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds and counters stay below 2^53; D1 takes no 64-bit integers"
)]
fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

/// What the worker's variables say, and the document cannot change.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn environment(env: &Env) -> Result<Environment, String> {
    let variable = |name: &str| env.var(name).ok().map(|value| value.to_string());
    Environment::new(urls::parse).with_variables(
        variable("LOCAL_DEVELOPMENT").as_deref(),
        variable("SECRET_HOSTS").as_deref(),
    )
}

#[derive(Deserialize)]
struct Epoch {
    revision: Option<u64>,
    generation: u64,
    /// Length of the active document, where it is another than the one that is known.
    body: Option<usize>,
}

/// The active configuration, read again where this isolate's copy is older than [`EPOCH_AGE_MAX_MS`]. While the store is
/// away the last copy serves for [`STORE_OUTAGE_READS_MS`].
pub(super) async fn active(env: &Env) -> Option<Rc<Active>> {
    let now = now_ms();
    let (kept, read_ms) =
        isolate::with(|isolate| (isolate.active.borrow().clone(), isolate.epoch_read_ms.get()));
    if kept.is_some() && now.saturating_sub(read_ms) < EPOCH_AGE_MAX_MS {
        return kept;
    }
    // Set before the read: of many requests at once, one asks and the others go on with what there is.
    if kept.is_some() {
        isolate::with(|isolate| isolate.epoch_read_ms.set(now));
    }
    let known = kept.as_ref().map(|kept| kept.revision);
    let Some((epoch, document)) = read_epoch(env, known).await else {
        let answered_ms = isolate::with(|isolate| isolate.store_answered_ms.get());
        return kept.filter(|_| now.saturating_sub(answered_ms) < STORE_OUTAGE_READS_MS);
    };
    isolate::with(|isolate| {
        isolate.epoch_read_ms.set(now);
        isolate.store_answered_ms.set(now);
    });
    let knew_generation = isolate::with(|isolate| isolate.generation.replace(epoch.generation));
    if knew_generation != epoch.generation {
        reconcile_snapshots(env).await;
    }
    let revision = epoch.revision?;
    if let Some(kept) = kept.filter(|kept| kept.revision == revision) {
        return Some(kept);
    }
    epoch.body?;
    adopt(env, revision, &document)
}

/// Reads the epoch, and in the same trip the active document, unless it is the one that is known.
async fn read_epoch(env: &Env, known: Option<u64>) -> Option<(Epoch, Vec<u8>)> {
    let sql = "SELECT epoch.revision, generation, body FROM epoch LEFT JOIN config_revisions \
               ON config_revisions.revision = epoch.revision AND epoch.revision IS NOT ?1 WHERE id = 1";
    let values = serde_json::to_string(&[known]).ok()?;
    let (mut rows, document) = web::rows::<Epoch>(env, sql, &values).await?;
    Some((rows.pop()?, document))
}

/// Makes a stored document the one in force here.
fn adopt(env: &Env, revision: u64, document: &[u8]) -> Option<Rc<Active>> {
    let config = config::parse(document, &environment(env).ok()?)
        .inspect_err(|errors| {
            worker::console_error!("the active configuration does not hold here: {errors:?}");
        })
        .ok()?;
    let active = Rc::new(Active { revision, config });
    isolate::with(|isolate| {
        *isolate.active.borrow_mut() = Some(active.clone());
        // Rules of another revision may name other issuers.
        isolate.bearer_tokens.borrow_mut().remove_all();
        isolate.access_tokens.borrow_mut().remove_all();
        isolate.upstream_sessions.borrow_mut().clear();
        isolate.failures.borrow_mut().clear();
    });
    Some(active)
}

/// Why a configuration was not activated.
pub(super) enum NotActivated {
    /// It is not valid; every reason.
    Invalid(Vec<ConfigError>),
    /// The store did not take it.
    StoreAway,
}

/// Stores a configuration as a new revision and activates it. Listings are read anew: a server's address may be another.
pub(super) async fn activate(env: &Env, body: &str, author: &str) -> Result<u64, NotActivated> {
    let invalid = |message: String| {
        NotActivated::Invalid(vec![ConfigError {
            pointer: String::new(),
            message,
        }])
    };
    config::parse(body.as_bytes(), &environment(env).map_err(invalid)?)
        .map_err(NotActivated::Invalid)?;
    store_revision(env, body, author)
        .await
        .ok_or(NotActivated::StoreAway)
}

async fn store_revision(env: &Env, body: &str, author: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Row {
        revision: u64,
    }
    let database = database(env)?;
    let insert = database
        .prepare("INSERT INTO config_revisions (body, author, created_at_ms) VALUES (?1, ?2, ?3)")
        .bind(&[body.into(), author.into(), number(now_ms())])
        .ok()?;
    let point = database.prepare(
        "UPDATE epoch SET revision = (SELECT MAX(revision) FROM config_revisions), generation = generation + 1",
    );
    let forget = database.prepare("DELETE FROM catalog_snapshots");
    let answer = database.prepare("SELECT revision FROM epoch WHERE id = 1");
    let results = database
        .batch(vec![insert, point, forget, answer])
        .await
        .ok()?;
    let revision = results.last()?.results::<Row>().ok()?.first()?.revision;
    isolate::with(|isolate| {
        isolate.epoch_read_ms.set(0);
        isolate.snapshots.borrow_mut().clear();
    });
    Some(revision)
}

/// Whether a configuration is active.
pub(super) async fn is_set_up(env: &Env) -> Option<bool> {
    let (epoch, _) = read_epoch(env, None).await?;
    Some(epoch.revision.is_some())
}

/// Keeps a snapshot in memory.
pub(super) fn remember(snapshot: &Rc<Snapshot>) {
    isolate::with(|isolate| {
        let mut snapshots = isolate.snapshots.borrow_mut();
        isolate::bound(&mut snapshots, SNAPSHOTS_MAX);
        snapshots.insert(snapshot.key.clone(), snapshot.clone());
    });
}

#[derive(Deserialize)]
struct Part {
    server: String,
    scope: String,
    parts: u64,
    fetched_at_ms: u64,
    /// Length.
    body: usize,
}

/// Loads snapshots. Those that are not stored, or only in part, are not among the result.
pub(super) async fn load_snapshots(env: &Env, keys: &[SnapshotKey]) -> Vec<Snapshot> {
    let wanted: Vec<(&str, &str)> = keys
        .iter()
        .map(|key| (key.server.as_str(), key.scope.as_str()))
        .collect();
    load_parts(env, &wanted).await.unwrap_or_default()
}

async fn load_parts(env: &Env, wanted: &[(&str, &str)]) -> Option<Vec<Snapshot>> {
    let sql = "SELECT server, scope, parts, fetched_at_ms, body FROM catalog_snapshots \
               WHERE (server, scope) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1)) \
               ORDER BY server, scope, part";
    // A text inside of a list: the statement has one parameter.
    let values = serde_json::to_string(&[serde_json::to_string(wanted).ok()?]).ok()?;
    let (parts, bodies) = web::rows::<Part>(env, sql, &values).await?;
    let mut rest = bodies.as_slice();
    let mut snapshots = Vec::new();
    // Parts of one listing come one after the other, and so do their bytes.
    for own in parts.chunk_by(|one, next| (&one.server, &one.scope) == (&next.server, &next.scope))
    {
        let length = own.iter().map(|part| part.body).sum();
        let (body, others) = rest.split_at_checked(length)?;
        rest = others;
        let first = own.first()?;
        if own.len() as u64 != first.parts {
            continue;
        }
        let body = std::str::from_utf8(body).ok()?;
        if let Some(mut snapshot) = Snapshot::from_json(body) {
            snapshot.fetched_at_ms = first.fetched_at_ms;
            snapshots.push(snapshot);
        }
    }
    Some(snapshots)
}

/// Stores a snapshot and tells the other isolates. A store that is away costs them a sync, nothing else.
pub(super) async fn save_snapshot(env: &Env, snapshot: &Snapshot) {
    if save(env, snapshot).await.is_none() {
        worker::console_warn!(
            "the listing of server '{}' could not be stored",
            snapshot.key.server
        );
    }
}

async fn save(env: &Env, snapshot: &Snapshot) -> Option<()> {
    let database = database(env)?;
    let (server, scope) = (
        JsValue::from_str(&snapshot.key.server),
        JsValue::from_str(&snapshot.key.scope),
    );
    let body = snapshot.to_json();
    let parts = cut(&body, PART_BYTES_MAX);
    let mut statements = vec![
        database
            .prepare("DELETE FROM catalog_snapshots WHERE server = ?1 AND scope = ?2")
            .bind(&[server.clone(), scope.clone()])
            .ok()?,
    ];
    for (index, part) in parts.iter().enumerate() {
        let insert = database.prepare(
            "INSERT INTO catalog_snapshots (server, scope, part, parts, fetched_at_ms, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        );
        let values = [
            server.clone(),
            scope.clone(),
            number(index as u64),
            number(parts.len() as u64),
            number(snapshot.fetched_at_ms),
            JsValue::from_str(part),
        ];
        statements.push(insert.bind(&values).ok()?);
    }
    statements.push(database.prepare("UPDATE epoch SET generation = generation + 1"));
    database.batch(statements).await.ok().map(drop)
}

/// Cuts a text at character boundaries.
fn cut(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > bytes_max {
        let at = (0..=bytes_max)
            .rev()
            .find(|at| rest.is_char_boundary(*at))
            .unwrap_or(bytes_max);
        let Some((part, tail)) = rest.split_at_checked(at) else {
            break;
        };
        parts.push(part);
        rest = tail;
    }
    parts.push(rest);
    parts
}

/// Marks a server's stored snapshots as outdated.
pub(super) async fn outdate(env: &Env, server: &str) {
    let Some(database) = database(env) else {
        return;
    };
    let mark = database
        .prepare("UPDATE catalog_snapshots SET fetched_at_ms = 0 WHERE server = ?1")
        .bind(&[server.into()]);
    if let Ok(mark) = mark {
        let tell = database.prepare("UPDATE epoch SET generation = generation + 1");
        let _ = database.batch(vec![mark, tell]).await;
    }
}

/// Drops from memory what is stored otherwise by now.
async fn reconcile_snapshots(env: &Env) {
    #[derive(Deserialize)]
    struct Row {
        server: String,
        scope: String,
        fetched_at_ms: u64,
    }
    if isolate::with(|isolate| isolate.snapshots.borrow().is_empty()) {
        return;
    }
    let Some(database) = database(env) else {
        return;
    };
    let statement = database
        .prepare("SELECT server, scope, fetched_at_ms FROM catalog_snapshots WHERE part = 0");
    let Ok(rows) = statement.all().await.and_then(|all| all.results::<Row>()) else {
        return;
    };
    isolate::with(|isolate| {
        isolate.snapshots.borrow_mut().retain(|key, snapshot| {
            rows.iter().any(|row| {
                row.server == key.server
                    && row.scope == key.scope
                    && row.fetched_at_ms == snapshot.fetched_at_ms
            })
        });
    });
}
