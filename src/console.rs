//! Pages for people, as HTML texts.

use crate::config::Portal;

/// Nothing but the page's own style and script, and no framing.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'sha256-REPLACED'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page of a portal.
#[must_use]
pub fn portal_page(portal: &Portal, endpoint: &str) -> String {
    format!(
        "<!doctype html><title>{}</title><p>{}",
        escape(&portal.name),
        escape(endpoint)
    )
}

/// No configuration is active.
#[must_use]
pub fn not_set_up() -> String {
    "<!doctype html><title>Portcullis</title><p>This portal has no configuration yet.".to_owned()
}

/// Nothing is here.
#[must_use]
pub fn not_found() -> String {
    "<!doctype html><title>Not found</title><p>There is nothing here. The MCP endpoint is /mcp."
        .to_owned()
}

fn escape(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, char| {
            match char {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                _ => out.push(char),
            }
            out
        })
}
