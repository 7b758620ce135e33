//! URLs, read by the platform's own parser: what is judged is then exactly what `fetch` calls, and the worker carries
//! no tables of its own for international names.

use web_sys::Url;

use crate::config::{Getters, WebUrl};

/// Reads an absolute URL.
pub(super) fn parse(text: &str) -> Option<WebUrl> {
    let url = Url::new(text).ok()?;
    WebUrl::new(Getters {
        href: &url.href(),
        protocol: &url.protocol(),
        hostname: &url.hostname(),
        username: &url.username(),
        password: &url.password(),
    })
}
