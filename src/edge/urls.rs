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

/// Whether two absolute URLs have one origin, and neither a user name.
pub(super) fn is_same_origin(one: &str, other: &str) -> bool {
    let (Ok(one), Ok(other)) = (Url::new(one), Url::new(other)) else {
        return false;
    };
    let is_plain = |url: &Url| url.username().is_empty() && url.password().is_empty();
    one.origin() == other.origin() && is_plain(&one) && is_plain(&other)
}
