//! `GrantObject`: what one grant keeps for itself. Today the servers it switched off.

use std::collections::BTreeSet;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use worker::{DurableObject, Env, Method, Request, Response, State, durable_object};

use super::ports::now_ms;
use super::{isolate, web};
use crate::limits::EPOCH_AGE_MAX_MS;

/// Grants whose toggles an isolate remembers.
const GRANTS_MAX: usize = 5_000;

/// One grant's own state.
#[durable_object]
pub struct GrantObject {
    state: State,
    #[expect(
        dead_code,
        reason = "the platform hands it over; nothing here needs a binding"
    )]
    env: Env,
}

#[derive(Serialize, Deserialize)]
struct Toggle {
    server: String,
    off: bool,
}

#[derive(Deserialize)]
struct Row {
    server: String,
}

impl DurableObject for GrantObject {
    fn new(state: State, env: Env) -> Self {
        Self { state, env }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let sql = self.state.storage().sql();
        // Only a grant that switches something stores anything.
        let has_table = !sql
            .exec(
                "SELECT name AS server FROM sqlite_master WHERE name = 'toggles'",
                None,
            )?
            .to_array::<Row>()?
            .is_empty();
        if request.method() == Method::Post {
            let toggle: Toggle = request.json().await?;
            sql.exec(
                "CREATE TABLE IF NOT EXISTS toggles (server TEXT PRIMARY KEY)",
                None,
            )?;
            let change = if toggle.off {
                "INSERT OR IGNORE INTO toggles (server) VALUES (?1)"
            } else {
                "DELETE FROM toggles WHERE server = ?1"
            };
            sql.exec(change, Some(vec![toggle.server.into()]))?;
        } else if !has_table {
            return Response::from_json(&Vec::<String>::new());
        }
        let rows: Vec<Row> = sql
            .exec("SELECT server FROM toggles ORDER BY server", None)?
            .to_array()?;
        Response::from_json(&rows.into_iter().map(|row| row.server).collect::<Vec<_>>())
    }
}

/// The servers a grant switched off, as of at most three seconds ago. A grant whose object does not answer has what it
/// had, or everything switched on: a toggle is a convenience of the caller, not a rule.
pub(super) async fn toggled_off(env: &Env, grant: &str) -> Rc<BTreeSet<String>> {
    let now = now_ms();
    let known = isolate::with(|isolate| isolate.toggles.borrow().get(grant).cloned());
    if let Some((_, off)) = known
        .as_ref()
        .filter(|(read_ms, _)| now.saturating_sub(*read_ms) < EPOCH_AGE_MAX_MS)
    {
        return off.clone();
    }
    match ask(env, grant, None).await {
        Some(off) => remember(grant, off),
        None => known.map(|(_, off)| off).unwrap_or_default(),
    }
}

/// Switches a server.
pub(super) async fn toggle(env: &Env, grant: &str, server: &str, off: bool) -> Result<(), ()> {
    let toggle = Toggle {
        server: server.to_owned(),
        off,
    };
    let off = ask(env, grant, Some(&toggle)).await.ok_or(())?;
    remember(grant, off);
    Ok(())
}

fn remember(grant: &str, off: Vec<String>) -> Rc<BTreeSet<String>> {
    let off = Rc::new(off.into_iter().collect::<BTreeSet<_>>());
    isolate::with(|isolate| {
        let mut toggles = isolate.toggles.borrow_mut();
        isolate::bound(&mut toggles, GRANTS_MAX);
        toggles.insert(grant.to_owned(), (now_ms(), off.clone()));
    });
    off
}

async fn ask(env: &Env, grant: &str, toggle: Option<&Toggle>) -> Option<Vec<String>> {
    let body = toggle.map(serde_json::to_vec).transpose().ok()?;
    let (status, off) = web::ask(env, "GRANTS", grant, body.as_deref()).await?;
    serde_json::from_str(&off).ok().filter(|_| status == 200)
}
