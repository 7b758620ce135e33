//! A URL as the WHATWG standard reads it, which is how the platform's `fetch` reads it too.
//!
//! The core compiles no parser into the worker: it is given one, and the platform's own is at hand there. Whichever it
//! is, it only answers the standard's getters; what they mean is decided here, and hence tested here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads a text as the WHATWG standard says; nothing where it is not an absolute URL.
pub type ParseUrl = fn(&str) -> Option<WebUrl>;

/// A parsed URL, in its one normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebUrl {
    href: String,
    scheme: Scheme,
    /// As it stands in `href`: ASCII, in lower case, an IPv6 address in brackets; empty for none.
    hostname: String,
    address: Option<IpAddr>,
    has_credentials: bool,
}

/// The schemes that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `https`
    Https,
    /// `http`
    Http,
    /// Any other, none of which is ever called.
    Other,
}

/// What stands where the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name, never empty.
    Domain(&'a str),
    /// An IPv4 address, in whichever notation it was written.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
}

/// What the standard's getters of the same names answer for a parsed URL.
#[derive(Debug, Clone, Copy)]
pub struct Getters<'a> {
    /// All of it, normalised.
    pub href: &'a str,
    /// The scheme with its colon.
    pub protocol: &'a str,
    /// The host without its port.
    pub hostname: &'a str,
    /// Empty for none.
    pub username: &'a str,
    /// Empty for none.
    pub password: &'a str,
}

impl WebUrl {
    /// What a parser has found. Nothing for a host that is written as an address and is none in its normal form, which
    /// no parser of the standard answers: what is not normal would not be judged as what is then called.
    #[must_use]
    pub fn new(getters: Getters<'_>) -> Option<Self> {
        let Getters { href, hostname, .. } = getters;
        let address = if let Some(rest) = hostname.strip_prefix('[') {
            Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?))
        } else if ends_in_number(hostname) {
            Some(IpAddr::V4(hostname.parse().ok()?))
        } else {
            None
        };
        Some(Self {
            href: href.to_owned(),
            scheme: match getters.protocol {
                "https:" => Scheme::Https,
                "http:" => Scheme::Http,
                _ => Scheme::Other,
            },
            hostname: hostname.to_owned(),
            address,
            has_credentials: !getters.username.is_empty() || !getters.password.is_empty(),
        })
    }

    /// All of it, as it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.href
    }

    /// Its scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its host; nothing where it has none.
    #[must_use]
    pub fn host(&self) -> Option<Host<'_>> {
        match self.address {
            Some(IpAddr::V4(address)) => Some(Host::Ipv4(address)),
            Some(IpAddr::V6(address)) => Some(Host::Ipv6(address)),
            None if self.hostname.is_empty() => None,
            None => Some(Host::Domain(&self.hostname)),
        }
    }

    /// Its host's text, an IPv6 address in brackets; empty for none.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Whether it carries a user name or a password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        self.has_credentials
    }

    /// Whether it has a `#fragment`, be it empty, which the getter for it would not tell. Everywhere else in a
    /// normalised URL a `#` is percent-encoded.
    #[must_use]
    pub fn has_fragment(&self) -> bool {
        self.href.contains('#')
    }
}

/// The standard's question whether a host is to be read as an IPv4 address: is its last label a number?
fn ends_in_number(hostname: &str) -> bool {
    let hostname = hostname.strip_suffix('.').unwrap_or(hostname);
    let last = hostname.rsplit('.').next().unwrap_or(hostname);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.chars().all(|digit| digit.is_ascii_hexdigit()),
        None => !last.is_empty() && last.chars().all(|digit| digit.is_ascii_digit()),
    }
}

/// Reads a text with the `url` crate: on the command line and in tests, where there is no platform to ask.
#[cfg(not(target_arch = "wasm32"))]
#[must_use]
pub fn parse_natively(text: &str) -> Option<WebUrl> {
    use url::quirks;

    let url = url::Url::parse(text).ok()?;
    WebUrl::new(Getters {
        href: quirks::href(&url),
        protocol: quirks::protocol(&url),
        hostname: quirks::hostname(&url),
        username: quirks::username(&url),
        password: quirks::password(&url),
    })
}

#[cfg(test)]
impl std::str::FromStr for WebUrl {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_natively(text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_hostname(hostname: &str) -> Option<WebUrl> {
        WebUrl::new(Getters {
            href: &format!("https://{hostname}/"),
            protocol: "https:",
            hostname,
            username: "",
            password: "",
        })
    }

    #[test]
    fn a_hostname_is_a_name_or_an_address() {
        for name in [
            "jira.example",
            "1.example",
            "1.2.3.4.example",
            "0x7f.example",
            "a.0xg",
            "a.b.",
        ] {
            let url = with_hostname(name).unwrap();
            assert_eq!(url.host(), Some(Host::Domain(name)));
        }
        let v4 = with_hostname("127.0.0.1").unwrap();
        assert_eq!(v4.host(), Some(Host::Ipv4(Ipv4Addr::LOCALHOST)));
        let v6 = with_hostname("[::1]").unwrap();
        assert_eq!(v6.host(), Some(Host::Ipv6(Ipv6Addr::LOCALHOST)));
        assert_eq!(v6.hostname(), "[::1]");
        assert_eq!(with_hostname("").unwrap().host(), None);
    }

    #[test]
    fn a_parser_that_leaves_addresses_as_they_are_written_is_not_believed() {
        for hostname in [
            "2130706433",
            "127.1",
            "0x7f.0.0.1",
            "0X7F000001",
            "0x",
            "0177.0.0.1",
            "127.0.0.1.",
            "256.0.0.1",
            "1.2.3.4.5",
            "a.1",
            "[::1",
            "[fe80::1%25eth0]",
            "[]",
        ] {
            assert_eq!(with_hostname(hostname), None, "{hostname}");
        }
    }

    #[test]
    fn what_is_beside_the_host_is_told() {
        let told = |text: &str| {
            let url: WebUrl = text.parse().unwrap();
            (url.scheme(), url.has_credentials(), url.has_fragment())
        };
        assert_eq!(told("HTTPS://a.example/%23"), (Scheme::Https, false, false));
        assert_eq!(told("http://a.example/?q#"), (Scheme::Http, false, true));
        assert_eq!(told("https://a.example#f"), (Scheme::Https, false, true));
        assert_eq!(told("https://u@a.example"), (Scheme::Https, true, false));
        assert_eq!(told("https://:p@a.example"), (Scheme::Https, true, false));
        assert_eq!(told("https://%23@a.example"), (Scheme::Https, true, false));
        assert_eq!(told("https://:@a.example"), (Scheme::Https, false, false));
        assert_eq!(told("data:,x"), (Scheme::Other, false, false));
    }
}
