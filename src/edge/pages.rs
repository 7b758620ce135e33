//! Pages for people.

use web_sys::Response;
use worker::Env;

use super::router::Address;
use super::{reply, store, web};
use crate::console;

/// The employee's page of a portal.
pub(super) async fn portal(env: &Env, address: &Address, named: Option<&str>) -> Response {
    let Some(active) = store::active(env).await else {
        return page(503, &console::not_set_up());
    };
    let portal = active.config.portal_by_host(&address.host).cloned();
    let portal = match named {
        Some(id) if portal.is_some() => active.config.portal(id).cloned(),
        Some(_) => None,
        None => portal,
    };
    match portal {
        Some(portal) => {
            let path = named.map_or_else(|| "/mcp".to_owned(), |id| format!("/p/{id}/mcp"));
            page(
                200,
                &console::portal_page(&portal, &format!("{}{path}", address.origin)),
            )
        }
        None => not_found(),
    }
}

/// Nothing is here.
pub(super) fn not_found() -> Response {
    page(404, &console::not_found())
}

/// Something is here, for another method.
pub(super) fn method_not_allowed() -> Response {
    web::respond(405, [], None).unwrap_or_else(reply::broken)
}

fn page(status: u16, html: &str) -> Response {
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", console::CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ];
    web::respond(status, headers, Some(html.as_bytes())).unwrap_or_else(reply::broken)
}
