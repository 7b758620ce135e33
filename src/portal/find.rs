//! Step 4: from the name a client used to the server that has it, as far as this caller may know.

use std::collections::BTreeSet;

use super::caller::{Caller, Deed};
use super::ports::Ports;
use super::tasks::{self, Handle};
use crate::catalog::resolve::{self, Named, Target};
use crate::error::{PortalError, Rejection};
use crate::mcp::{Method, Request};

/// Finds what a request names, and the task it is about, if any. `deed` learns the name, also of what there is not.
///
/// # Errors
/// Unknown and forbidden alike; a request that names nothing.
pub(super) async fn find<P: Ports>(
    ports: &P,
    caller: &Caller,
    method: Method,
    request: &Request<'_>,
    off: &BTreeSet<String>,
    deed: &mut Deed,
) -> Result<(Target, Option<Handle>), PortalError> {
    let handle = tasks::handle(ports, caller, method, request)?;
    let target = match &handle {
        Some(handle) => tasks::target(ports, caller, handle, off, deed).await?,
        None => named(ports, caller, method, request, off, deed).await?,
    };
    Ok((target, handle))
}

async fn named<P: Ports>(
    ports: &P,
    caller: &Caller,
    method: Method,
    request: &Request<'_>,
    off: &BTreeSet<String>,
    deed: &mut Deed,
) -> Result<Target, PortalError> {
    let portal = &caller.portal;
    let subject = &caller.principal.subject;
    let is_off = |server: &str| off.contains(server);
    let params = &request.params;
    match method {
        Method::ToolsCall | Method::PromptsGet => {
            let Some(name) = &params.name else {
                return Err(Rejection::BadParams("Invalid params: name is missing".into()).into());
            };
            let name = name.value.as_ref();
            deed.target = Some(name.to_owned());
            let (named, unknown) = if method == Method::ToolsCall {
                (Named::Tool, Rejection::UnknownTool(name.to_owned()))
            } else {
                (Named::Prompt, Rejection::UnknownPrompt(name.to_owned()))
            };
            let found = resolve::by_name(ports, portal, subject, named, name, &is_off).await;
            found.map_err(|missing| missing.into_error(unknown))
        }
        Method::Complete => complete_target(ports, caller, request, &is_off, deed).await,
        _ => {
            let Some(uri) = &params.uri else {
                return Err(Rejection::BadParams("Invalid params: uri is missing".into()).into());
            };
            let uri = uri.value.as_ref();
            deed.target = Some(uri.to_owned());
            let found = resolve::by_uri(ports, portal, subject, uri, &is_off).await;
            found.map_err(|missing| missing.into_error(Rejection::UnknownResource(uri.to_owned())))
        }
    }
}

async fn complete_target<P: Ports>(
    ports: &P,
    caller: &Caller,
    request: &Request<'_>,
    is_off: &dyn Fn(&str) -> bool,
    deed: &mut Deed,
) -> Result<Target, PortalError> {
    let (portal, subject) = (&caller.portal, &caller.principal.subject);
    let bad = |text: &'static str| PortalError::from(Rejection::BadParams(text.into()));
    let reference = request
        .params
        .reference
        .as_ref()
        .ok_or_else(|| bad("Invalid params: ref is missing"))?;
    match (&*reference.kind, &reference.name, &reference.uri) {
        ("ref/prompt", Some(name), _) => {
            deed.target = Some(name.value.to_string());
            let found =
                resolve::by_name(ports, portal, subject, Named::Prompt, &name.value, is_off).await;
            found.map_err(|missing| {
                missing.into_error(Rejection::UnknownPrompt(name.value.to_string()))
            })
        }
        ("ref/resource", _, Some(uri)) => {
            deed.target = Some(uri.value.to_string());
            let found = resolve::by_template(ports, portal, subject, &uri.value, is_off).await;
            found.map_err(|missing| {
                missing.into_error(Rejection::UnknownResource(uri.value.to_string()))
            })
        }
        _ => Err(bad(
            "Invalid params: ref is a ref/prompt with a name or a ref/resource with a uri",
        )),
    }
}
