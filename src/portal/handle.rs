//! Steps 3 and 10 for every message: checked on its way in, answered on its way out.

use std::rc::Rc;

use futures::future::LocalBoxFuture;

use super::caller::{Caller, Deed};
use super::ports::{Original, Ports};
use super::reply::Reply;
use super::{call, discover, list, listen, session, tools};
use crate::catalog::snapshot::Listing;
use crate::error::{PortalError, Rejection};
use crate::mcp::headers::MirrorHeaders;
use crate::mcp::log_level::LOG_LEVELS;
use crate::mcp::message::BadMessage;
use crate::mcp::{Era, Message, Method, Request, Revision, reply};

/// Handles one message of an admitted caller. Every refusal is recorded by the time this returns.
pub async fn handle<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    message: &Message<'_>,
) -> Reply<Original<P>> {
    match message {
        Message::Request(request) => {
            let handled = match check(caller, request) {
                Ok(method) => answer(ports, caller, method, request).await,
                Err(error) => Err(refused(ports, caller, &request.method, error)),
            };
            handled.unwrap_or_else(|error| {
                Reply::error(request.id.text, &error, caller.era, &caller.request_id)
            })
        }
        Message::Notification(notification) => {
            if caller.era == Era::Legacy {
                session::notified(ports, caller, notification).await;
            }
            Reply::empty(202)
        }
        Message::Response(response) => {
            let answered = if caller.era == Era::Legacy {
                session::answered(ports, caller, response).await
            } else {
                let bad =
                    BadMessage::NotRpc("a client sends no responses in this protocol revision");
                Err(refused(ports, caller, "response", bad.into()))
            };
            match answered {
                Ok(()) => Reply::empty(202),
                Err(error) => Reply::error("null", &error, caller.era, &caller.request_id),
            }
        }
    }
}

fn refused<P: Ports>(ports: &P, caller: &Caller, method: &str, error: PortalError) -> PortalError {
    const METHOD_CHARS_MAX: usize = 100;
    let deed = Deed {
        method: method.chars().take(METHOD_CHARS_MAX).collect(),
        ..Deed::default()
    };
    caller.refuse(ports, &deed, error.label());
    error
}

/// (3) The envelope rules of the caller's era.
fn check(caller: &Caller, request: &Request<'_>) -> Result<Method, PortalError> {
    if caller.era == Era::Modern {
        check_modern(caller, request)?;
    }
    Method::parse(&request.method)
        .filter(|method| method.exists_in(caller.era))
        .ok_or_else(|| Rejection::UnknownMethod(request.method.to_string()).into())
}

fn check_modern(caller: &Caller, request: &Request<'_>) -> Result<(), PortalError> {
    let meta = &request.params.meta;
    let Some(version) = meta.protocol_version.as_deref() else {
        return Err(Rejection::MissingMeta("io.modelcontextprotocol/protocolVersion").into());
    };
    let sent = |name: &str| (caller.sent_header)(name);
    let headers = MirrorHeaders {
        protocol_version: sent("MCP-Protocol-Version"),
        method: sent("Mcp-Method"),
        name: sent("Mcp-Name"),
    };
    headers
        .agree_with(request)
        .map_err(|mismatch| Rejection::HeaderMismatch(mismatch.0))?;
    if Revision::parse(version).is_none_or(|revision| revision.era() != Era::Modern) {
        return Err(Rejection::UnsupportedVersion(version.to_owned()).into());
    }
    if meta.client_capabilities.is_none() {
        return Err(Rejection::MissingMeta("io.modelcontextprotocol/clientCapabilities").into());
    }
    Ok(())
}

async fn answer<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    method: Method,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let name = request.params.name.as_ref().map(|name| &*name.value);
    let is_own = caller.portal.portal_tools && name.is_some_and(tools::is_own);
    let governed = matches!(
        method,
        Method::PromptsGet
            | Method::ResourcesRead
            | Method::Complete
            | Method::ResourcesSubscribe
            | Method::ResourcesUnsubscribe
    );
    if governed || method == Method::ToolsCall && !is_own {
        return call::call(ports, caller, method, request).await;
    }
    // Boxed, so that an isolate that only passes calls on does not compile it.
    let answered: LocalBoxFuture<'_, _> = Box::pin(answer_itself(ports, caller, method, request));
    answered.await
}

/// What the portal answers without a server's answer to pass on.
async fn answer_itself<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    method: Method,
    request: &Request<'_>,
) -> Result<Reply<Original<P>>, PortalError> {
    let own = |result: Vec<u8>| Ok(Reply::json(reply::result(request.id.text, &result)));
    match method {
        Method::ToolsCall => {
            let name = request.params.name.as_ref().map(|name| &*name.value);
            tools::call(ports, caller, name.unwrap_or_default(), request).await
        }
        Method::ToolsList => list::list(ports, caller, Listing::Tools, request).await,
        Method::PromptsList => list::list(ports, caller, Listing::Prompts, request).await,
        Method::ResourcesList => list::list(ports, caller, Listing::Resources, request).await,
        Method::TemplatesList => list::list(ports, caller, Listing::Templates, request).await,
        Method::Discover => own(discover::discover(ports, caller).await),
        Method::Initialize => own(discover::initialize(ports, caller).await),
        Method::Listen => listen::listen(ports, caller, request).await,
        Method::SetLevel => {
            let level = request.params.level.as_ref().map(|level| &*level.value);
            let Some(level) = level.filter(|level| LOG_LEVELS.contains(level)) else {
                let text = format!("Invalid params: level is one of {}", LOG_LEVELS.join(", "));
                let error = Rejection::BadParams(text.into());
                return Err(refused(ports, caller, &request.method, error.into()));
            };
            session::set_log_level(ports, caller, level).await;
            own(b"{}".to_vec())
        }
        Method::Ping => own(b"{}".to_vec()),
        // A request is none of these; as requests they do not exist, or were answered above.
        Method::PromptsGet
        | Method::ResourcesRead
        | Method::Complete
        | Method::ResourcesSubscribe
        | Method::ResourcesUnsubscribe
        | Method::Initialized
        | Method::Cancelled
        | Method::Progress
        | Method::RootsChanged => {
            let error = Rejection::UnknownMethod(request.method.to_string());
            Err(refused(ports, caller, &request.method, error.into()))
        }
    }
}
