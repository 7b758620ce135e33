//! Which addresses the portal may be told to call.
//!
//! A document names addresses, and so, later, do upstream redirects and metadata; none may lead the portal into a
//! network of its own. Only literal addresses and reserved names can be judged here: what a public name resolves to
//! is decided by the platform, which has no private network to resolve into. [`WebUrl`] has already turned every
//! notation (decimal, octal, hexadecimal, short, percent-encoded, full-width) into one.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::web_url::{Host, Scheme, WebUrl};

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFault {
    /// Neither `https` nor `http`.
    Scheme,
    /// `http` to something that is not the local machine in local development.
    PlainHttp,
    /// A user name or password in the URL.
    Credentials,
    /// A `#fragment`, which is never sent.
    Fragment,
    /// No host, or an empty one.
    NoHost,
    /// A host name with a final dot, which would slip past comparisons of names.
    FinalDot,
    /// A name that is only resolved inside some network.
    LocalName,
    /// The local machine, outside local development.
    Loopback,
    /// A range that is not on the public internet, by its name.
    Special(&'static str),
}

impl fmt::Display for AddressFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Scheme => {
                "only https URLs can be called (http for loopback addresses in local development)"
            }
            Self::PlainHttp => {
                "use https: plain http is only for loopback addresses in local development"
            }
            Self::Credentials => {
                "a URL must not carry a user name or password; name a secret in `auth` instead"
            }
            Self::Fragment => "a URL to be called has no `#fragment`",
            Self::NoHost => "the URL has no host",
            Self::FinalDot => "write the host name without its final dot",
            Self::LocalName => {
                "this name means something only inside a private network; use a public host name"
            }
            Self::Loopback => {
                "loopback addresses can be called in local development only (LOCAL_DEVELOPMENT)"
            }
            Self::Special(range) => {
                return write!(
                    formatter,
                    "{range} cannot be called; use a public host name"
                );
            }
        })
    }
}

impl std::error::Error for AddressFault {}

/// Whether the portal may call this URL.
///
/// # Errors
/// The first reason against it.
pub fn judge(url: &WebUrl, local_development: bool) -> Result<(), AddressFault> {
    if url.scheme() == Scheme::Other {
        return Err(AddressFault::Scheme);
    }
    if url.has_credentials() {
        return Err(AddressFault::Credentials);
    }
    if url.has_fragment() {
        return Err(AddressFault::Fragment);
    }
    let loopback = match url.host().ok_or(AddressFault::NoHost)? {
        Host::Domain(name) => judge_name(name)?,
        Host::Ipv4(address) => judge_v4(address)?,
        Host::Ipv6(address) => judge_v6(address)?,
    };
    if loopback && !local_development {
        return Err(AddressFault::Loopback);
    }
    if url.scheme() == Scheme::Http && !loopback {
        return Err(AddressFault::PlainHttp);
    }
    Ok(())
}

/// Domains that are never on the public internet.
const LOCAL_DOMAINS: [&str; 5] = ["local", "internal", "localdomain", "home.arpa", "lan"];

/// Whether a name is the local machine's.
fn judge_name(name: &str) -> Result<bool, AddressFault> {
    let within = |domain: &str| {
        name.strip_suffix(domain)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if name.is_empty() {
        return Err(AddressFault::NoHost);
    }
    if name.ends_with('.') {
        return Err(AddressFault::FinalDot);
    }
    if within("localhost") {
        return Ok(true);
    }
    if !name.contains('.') || LOCAL_DOMAINS.into_iter().any(within) {
        return Err(AddressFault::LocalName);
    }
    Ok(false)
}

/// Addresses of cloud providers' instance metadata that lie in ranges of other meanings, or in none.
const METADATA: [Ipv4Addr; 3] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
];

fn judge_v4(address: Ipv4Addr) -> Result<bool, AddressFault> {
    if METADATA.contains(&address) {
        return Err(AddressFault::Special("a cloud metadata address"));
    }
    let [a, b, c, _] = address.octets();
    let range = match (a, b, c) {
        (127, ..) => return Ok(true),
        (0, ..) => "an unspecified address (0.0.0.0/8)",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "a private address",
        (100, 64..=127, _) => "a carrier-grade NAT address (100.64.0.0/10)",
        (169, 254, _) => "a link-local address",
        (192, 0, 0) => "a protocol assignment address (192.0.0.0/24)",
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => "a documentation address",
        (192, 88, 99) => "a 6to4 relay address",
        (198, 18..=19, _) => "a benchmarking address (198.18.0.0/15)",
        (224..=239, ..) => "a multicast address",
        (240..=255, ..) => "a reserved address",
        _ => return Ok(false),
    };
    Err(AddressFault::Special(range))
}

fn judge_v6(address: Ipv6Addr) -> Result<bool, AddressFault> {
    if address.is_loopback() {
        return Ok(true);
    }
    let range = match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "the unspecified address",
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => {
            "an IPv4 address inside an IPv6 address"
        }
        [0x64, 0xff9b, ..] => "a NAT64 address",
        [0x2001, 0, ..] => "a Teredo address",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "a documentation address",
        [0x2001, 0x1..=0x1ff, ..] => "a protocol assignment address",
        [0x2002, ..] => "a 6to4 address",
        [0xfc00..=0xfdff, ..] => "a private address (fc00::/7)",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xff00..=0xffff, ..] => "a multicast address",
        // Everything public is in 2000::/3; the rest is reserved, and new ranges are better met than missed.
        [0x2000..=0x3fff, ..] => return Ok(false),
        _ => "a reserved address",
    };
    Err(AddressFault::Special(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(url: &str, local: bool) -> Result<(), AddressFault> {
        let url: WebUrl = url.parse().unwrap_or_else(|()| panic!("{url}"));
        judge(&url, local)
    }

    #[test]
    fn public_addresses_may_be_called_over_https() {
        for url in [
            "https://jira.example/mcp",
            "https://localhost.example/",
            "https://internal.example",
            "https://my-local.example/",
            "https://1.1.1.1/",
            "https://172.15.0.1",
            "https://172.32.0.1",
            "https://100.63.0.1",
            "https://[2606:4700::1111]/",
            "https://xn--bcher-kva.example:8443/a?b=c",
        ] {
            assert_eq!(verdict(url, false), Ok(()), "{url}");
            assert_eq!(verdict(url, true), Ok(()), "{url}");
        }
    }

    #[test]
    fn the_local_machine_is_for_local_development() {
        for url in [
            "http://localhost:9101/mcp",
            "http://LOCALHOST/",
            "http://api.localhost/",
            "http://127.0.0.1",
            "http://127.9.8.7",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.01/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://%31%32%37.0.0.1/",
            "http://127\u{3002}0\u{ff0e}0.1/",
            "http://\u{ff11}27.0.0.1/",
            "http://[::1]/",
            "http://[0:0:0:0:0:0:0:1]/",
            "https://localhost/",
        ] {
            assert_eq!(verdict(url, true), Ok(()), "{url}");
            assert_eq!(verdict(url, false), Err(AddressFault::Loopback), "{url}");
        }
    }

    #[test]
    fn networks_of_its_own_are_refused_in_every_notation() {
        for host in [
            "0.0.0.0",
            "0",
            "0.1.2.3",
            "10.0.0.1",
            "0xa.0.0.1",
            "012.0.0.1",
            "167772161",
            "10.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "0xc0a80101",
            "100.64.0.1",
            "100.127.255.254",
            "100.100.100.200",
            "169.254.1.1",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::ffff:0:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b:1::1]",
            "[2001::1]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[2001:20::1]",
            "[2002:a9fe:a9fe::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[febf::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "[4000::1]",
        ] {
            let fault = verdict(&format!("https://{host}/"), true);
            assert!(
                matches!(fault, Err(AddressFault::Special(_))),
                "{host}: {fault:?}"
            );
        }
        assert_eq!(
            verdict("https://169.254.169.254/", true),
            Err(AddressFault::Special("a cloud metadata address"))
        );
    }

    #[test]
    fn local_names_are_refused() {
        for name in [
            "intranet",
            "a.local",
            "metadata.google.internal",
            "A.INTERNAL",
            "x.localdomain",
            "x.home.arpa",
            "x.lan",
        ] {
            assert_eq!(
                verdict(&format!("https://{name}/"), true),
                Err(AddressFault::LocalName),
                "{name}"
            );
        }
        for name in ["localhost.", "a.internal.", "jira.example."] {
            assert_eq!(
                verdict(&format!("https://{name}/"), true),
                Err(AddressFault::FinalDot),
                "{name}"
            );
        }
    }

    #[test]
    fn the_rest_of_the_url_is_judged() {
        assert_eq!(
            verdict("http://jira.example/", true),
            Err(AddressFault::PlainHttp)
        );
        assert_eq!(
            verdict("http://jira.example/", false),
            Err(AddressFault::PlainHttp)
        );
        assert_eq!(
            verdict("ftp://jira.example/", true),
            Err(AddressFault::Scheme)
        );
        assert_eq!(
            verdict("file:///etc/passwd", true),
            Err(AddressFault::Scheme)
        );
        assert_eq!(verdict("data:,x", true), Err(AddressFault::Scheme));
        assert_eq!(
            verdict("https://u@jira.example/", true),
            Err(AddressFault::Credentials)
        );
        assert_eq!(
            verdict("https://:p@jira.example/", true),
            Err(AddressFault::Credentials)
        );
        assert_eq!(
            verdict("https://jira.example/#x", true),
            Err(AddressFault::Fragment)
        );
    }
}
