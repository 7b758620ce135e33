//! Tasks (SEP-2663): calls that go on after their answer, and what is asked about them later.
//!
//! The portal keeps no list of tasks. What a client knows a task by is sealed for that client's principal and portal, and
//! holds the server, the tool and the server's own id. So nobody else can use it, and each request about a task is
//! decided anew, as the call that made it would be decided now.

use std::collections::BTreeSet;

use serde_json::Value;

use super::caller::{Caller, Deed};
use super::finish::Finished;
use super::finisher::Finisher;
use super::ports::{Clock, Ports, Random, Seals};
use crate::audit::Status;
use crate::catalog::resolve::Target;
use crate::catalog::snapshot::Item;
use crate::catalog::sync;
use crate::error::{Internal, PortalError, Rejection, UpstreamFailure};
use crate::limits::{TASK_ID_BYTES_MAX, TASK_SEAL_MAX_MS, TASK_SEAL_MIN_MS};
use crate::mcp::json::{escape_into, splice};
use crate::mcp::reply::Glance;
use crate::mcp::{Era, Method, Request, task};
use crate::policy::Ask;
use crate::seal::Binding;

/// The reason in the row of a call that became a task: its end is not in this row.
const BEGUN: &str = "task";

/// A task: where it is, and under which ids it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// The id the client knows.
    pub(super) sealed: String,
    /// The server that does the work.
    pub(super) server: String,
    /// The tool that was called, by the server's own name.
    pub(super) tool: String,
    /// The server's own id.
    pub(super) id: String,
}

/// What a request has to do with tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskPart {
    /// Nothing.
    None,
    /// The server may make a task of it: both it and the client have the extension.
    MayBegin,
    /// It is about one.
    About(Handle),
}

impl TaskPart {
    pub(super) fn new(handle: Option<Handle>, method: Method, declares_tasks: bool) -> Self {
        match handle {
            Some(handle) => Self::About(handle),
            None if declares_tasks && method == Method::ToolsCall => Self::MayBegin,
            None => Self::None,
        }
    }

    /// The server's own id of the task the request is about.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::About(handle) => Some(&handle.id),
            Self::None | Self::MayBegin => None,
        }
    }
}

impl Handle {
    /// Opens what a client calls a task. Nothing where it is forged, another's, another portal's or too old.
    pub(super) fn open<P: Seals + Clock>(ports: &P, caller: &Caller, sealed: &str) -> Option<Self> {
        let bytes = ports
            .sealer()
            .open(binding(caller), sealed, ports.now_ms())?;
        let (server, tool, id) = serde_json::from_slice(&bytes).ok()?;
        Some(Self {
            sealed: sealed.to_owned(),
            server,
            tool,
            id,
        })
    }
}

fn binding(caller: &Caller) -> Binding<'_> {
    Binding {
        kind: "task",
        principal: &caller.principal.subject,
        place: &caller.portal.id,
        request: "tasks",
    }
}

/// Seals a server's own id for the client.
fn seal<P: Seals + Clock + Random>(
    ports: &P,
    caller: &Caller,
    content: (&str, &str, &str),
    lifetime_ms: u64,
) -> Option<String> {
    let plain = serde_json::to_vec(&content).ok()?;
    let mut nonce = [0_u8; 24];
    ports.fill(&mut nonce);
    ports
        .sealer()
        .seal_for(lifetime_ms, binding(caller), &plain, ports.now_ms(), nonce)
}

/// How long a task's id is good for, from the task's `ttlMs`: null is a task that never expires.
fn lifetime_ms(ttl_ms: Option<&Value>) -> u64 {
    match ttl_ms {
        Some(Value::Null) => TASK_SEAL_MAX_MS,
        Some(ttl_ms) => ttl_ms.as_u64().map_or(TASK_SEAL_MIN_MS, |ttl_ms| {
            ttl_ms.clamp(TASK_SEAL_MIN_MS, TASK_SEAL_MAX_MS)
        }),
        None => TASK_SEAL_MIN_MS,
    }
}

/// Whether the client declares the extension with a request. In the older era it means nothing (SEP-2663, "Backward
/// Compatibility").
pub(super) fn declares(caller: &Caller, request: &Request<'_>) -> bool {
    let declared = request.params.meta.client_capabilities;
    let declared = declared.filter(|_| caller.era == Era::Modern);
    declared.is_some_and(|raw| task::is_declared(raw.text))
}

/// The task a request is about; nothing where its method is about none.
///
/// # Errors
/// The client does not declare the extension, names no task, or one that is not theirs.
pub(super) fn handle<P: Seals + Clock>(
    ports: &P,
    caller: &Caller,
    method: Method,
    request: &Request<'_>,
) -> Result<Option<Handle>, PortalError> {
    if !method.is_about_task() {
        return Ok(None);
    }
    if !declares(caller, request) {
        return Err(Rejection::MissingExtension(task::EXTENSION).into());
    }
    let Some(sealed) = &request.params.task_id else {
        return Err(Rejection::BadParams("Invalid params: taskId is missing".into()).into());
    };
    let handle = Handle::open(ports, caller, &sealed.value);
    handle
        .map(Some)
        .ok_or_else(|| Rejection::UnknownTask.into())
}

/// (4) The tool whose call became the task, where the caller still has it. `deed` learns both, also of what is refused.
///
/// # Errors
/// Server, tool or extension are gone, which reads like an unknown task; or the server cannot say.
pub(super) async fn target<P: Ports>(
    ports: &P,
    caller: &Caller,
    handle: &Handle,
    off: &BTreeSet<String>,
    deed: &mut Deed,
) -> Result<Target, PortalError> {
    deed.server = Some(handle.server.clone());
    deed.target = Some(handle.tool.clone());
    let unknown = || PortalError::from(Rejection::UnknownTask);
    let places = &caller.portal.servers;
    let found = places
        .iter()
        .enumerate()
        .find(|(_, place)| place.server.id == handle.server);
    let (server_index, place) = found
        .filter(|(_, place)| place.server.enabled && !off.contains(&place.server.id))
        .ok_or_else(unknown)?;
    let subject = &caller.principal.subject;
    let snapshot = sync::snapshot_with(ports, &place.server, subject, &|snapshot| {
        snapshot.tool(&handle.tool).is_some()
    })
    .await
    .map_err(|fault| UpstreamFailure {
        server: handle.server.clone(),
        fault,
    })?;
    let is_there = snapshot.tool(&handle.tool).is_some();
    if !is_there || !snapshot.facts.modern || !snapshot.facts.tasks {
        return Err(unknown());
    }
    Ok(Target {
        server_index,
        name: handle.tool.clone(),
        snapshot,
    })
}

/// (5) What is asked of the rules: to look at a task reads, to answer or cancel it is part of the call that made it.
pub(super) fn ask(method: Method, tool: &Item) -> Ask<'_> {
    let (name, read_only) = (&*tool.key, tool.read_only);
    if method == Method::TasksGet {
        Ask::Poll { name, read_only }
    } else {
        Ask::Tool { name, read_only }
    }
}

impl<P: Ports> Finisher<P> {
    /// The call became a task: its id leaves sealed.
    ///
    /// # Errors
    /// A word for what is wrong with it: nobody can use it, or it is no task.
    pub(super) fn task_begun(
        &self,
        message: &[u8],
        glance: &Glance<'_>,
    ) -> Result<Finished, &'static str> {
        if self.task != TaskPart::MayBegin {
            return Err("a task handle, which was not asked for");
        }
        let (Some(result), Some(spelled)) = (glance.result, glance.task_id) else {
            return Err("a task without an id");
        };
        let result: Value = serde_json::from_str(result.text).unwrap_or_default();
        let id = result
            .get("taskId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if id.is_empty() || id.len() > TASK_ID_BYTES_MAX {
            return Err("a task whose id is empty or too long");
        }
        let tool = self.deed.target.as_deref().unwrap_or_default();
        let content = (self.route.server.id.as_str(), tool, id);
        let lifetime_ms = lifetime_ms(result.get("ttlMs"));
        let sealed = seal(&self.route.ports, &self.caller, content, lifetime_ms);
        let refused = sealed.is_none().then(|| Internal::Platform.into());
        Ok(Finished {
            reason: Some(BEGUN.to_owned()),
            changed: sealed
                .map(|sealed| splice(message, &[(spelled.start..spelled.end, &quoted(&sealed))])),
            refused,
            ..Finished::of(Status::Ok)
        })
    }

    /// The answer as the client wants it, its task under the id the client knows.
    ///
    /// # Errors
    /// A word for what is wrong with it: it is about another task.
    pub(super) fn in_clients_words(
        &self,
        message: &[u8],
        glance: &Glance<'_>,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let (TaskPart::About(handle), Some(spelled)) = (&self.task, glance.task_id) else {
            return Ok(self.supplemented(message, glance));
        };
        if serde_json::from_str::<String>(spelled.text).ok().as_ref() != Some(&handle.id) {
            return Err("an answer about another task");
        }
        let own = quoted(&handle.sealed);
        let renamed = splice(message, &[(spelled.start..spelled.end, &own)]);
        let glance = Glance::at(&renamed).map_err(|_| "not JSON")?;
        let supplemented = self.supplemented(&renamed, &glance);
        Ok(Some(supplemented.unwrap_or(renamed)))
    }
}

/// Text as a JSON string.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(2));
    escape_into(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tasks_id_lives_as_long_as_the_task_within_bounds() {
        let table = [
            (None, TASK_SEAL_MIN_MS),
            (Some(json!(null)), TASK_SEAL_MAX_MS),
            (Some(json!(0)), TASK_SEAL_MIN_MS),
            (Some(json!(-1)), TASK_SEAL_MIN_MS),
            (Some(json!("1")), TASK_SEAL_MIN_MS),
            (Some(json!(TASK_SEAL_MIN_MS + 1)), TASK_SEAL_MIN_MS + 1),
            (Some(json!(TASK_SEAL_MAX_MS + 1)), TASK_SEAL_MAX_MS),
            (Some(json!(u64::MAX)), TASK_SEAL_MAX_MS),
        ];
        for (ttl_ms, expected) in table {
            assert_eq!(lifetime_ms(ttl_ms.as_ref()), expected, "{ttl_ms:?}");
        }
    }

    #[test]
    fn only_a_call_may_begin_a_task_and_only_where_both_have_the_extension() {
        for method in Method::ALL {
            for declares in [false, true] {
                let expected = if declares && method == Method::ToolsCall {
                    TaskPart::MayBegin
                } else {
                    TaskPart::None
                };
                assert_eq!(TaskPart::new(None, method, declares), expected);
            }
        }
    }
}
