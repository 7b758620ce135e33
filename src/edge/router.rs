//! One table: path and method to handler.

use std::rc::Rc;

use futures::future::LocalBoxFuture;
use web_sys::{Request, Response};
use worker::{Context, Env};

use super::web::Head;
use super::{admin, endpoint, pages};

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'p> {
    Mcp,
    NamedMcp(&'p str),
    Metadata(&'p str),
    Health,
    Config,
    Page,
    NamedPage(&'p str),
    Nothing,
}

/// The address of a request, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// `https://portal.acme.example`, without a slash.
    pub origin: String,
    /// Host and port.
    pub host: String,
    /// The path, without the query.
    pub path: String,
}

impl Address {
    fn of(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, tail) = rest.split_at_checked(end)?;
        let path = tail.split(['?', '#']).next().unwrap_or_default();
        Some(Self {
            origin: format!("{scheme}://{host}"),
            host: host.to_owned(),
            path: if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            },
        })
    }
}

fn find(path: &str) -> Route<'_> {
    const METADATA: &str = "/.well-known/oauth-protected-resource";
    match path {
        "/mcp" => Route::Mcp,
        "/health" => Route::Health,
        "/" => Route::Page,
        "/admin/api/config" => Route::Config,
        _ => {
            if let Some(rest) = path.strip_prefix("/p/") {
                return match rest.split_once('/') {
                    Some((portal, "mcp")) => Route::NamedMcp(portal),
                    Some((portal, "")) => Route::NamedPage(portal),
                    None => Route::NamedPage(rest),
                    Some(_) => Route::Nothing,
                };
            }
            match path.strip_prefix(METADATA) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => Route::Metadata(rest),
                _ => Route::Nothing,
            }
        }
    }
}

/// Answers a request.
pub(super) async fn route(request: Request, env: Env, context: Context) -> Response {
    let head = Head::of(&request);
    let Some(address) = Address::of(&head.url) else {
        return pages::not_found();
    };
    let env = Rc::new(env);
    let path = address.path.clone();
    // Boxed one by one: what a request does not need, an isolate does not compile for it.
    let answered: LocalBoxFuture<'_, Response> = match (find(&path), head.method.as_str()) {
        (Route::Mcp, _) => Box::pin(endpoint::serve(request, head, env, context, address, None)),
        (Route::NamedMcp(portal), _) => Box::pin(endpoint::serve(
            request,
            head,
            env,
            context,
            address,
            Some(portal),
        )),
        (Route::Metadata(rest), "GET") => Box::pin(endpoint::metadata(&env, &address, rest)),
        (Route::Health, "GET") => Box::pin(admin::health(&env)),
        (Route::Config, "POST") => Box::pin(admin::apply_config(&request, &head, env, context)),
        (Route::Page, "GET") => Box::pin(pages::portal(&env, &address, None)),
        (Route::NamedPage(portal), "GET") => Box::pin(pages::portal(&env, &address, Some(portal))),
        (Route::Nothing, _) => return pages::not_found(),
        _ => return pages::method_not_allowed(),
    };
    answered.await
}
