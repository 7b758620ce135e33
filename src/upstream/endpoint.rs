//! Where an HTTP+SSE connection takes messages: an address that the server names itself (2024-11-05, basic/transports),
//! and that is believed only within the server's own origin, since the server's credential goes there.
//!
//! The core has no URL parser. What is accepted here is therefore less than the WHATWG standard reads, and means the same:
//! whatever could be read in two ways is refused.

use crate::config::Target;
use crate::error::UpstreamFault;
use crate::limits::ENDPOINT_BYTES_MAX;

/// An absolute URL of a server's own origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// The endpoint of one open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where messages go.
    pub address: Address,
    /// The portal's own name of the connection: the server's id, a separator that no id has, and random text. It says
    /// nothing about the address, which may be all that protects the connection.
    pub place: String,
}

const SEPARATOR: char = '#';

impl Endpoint {
    /// Names a connection.
    #[must_use]
    pub fn new(address: Address, server: &str, random: &str) -> Self {
        Self {
            address,
            place: format!("{server}{SEPARATOR}{random}"),
        }
    }
}

/// The server's id in the name of a connection, or in a name that is nothing else.
#[must_use]
pub fn server_of(place: &str) -> &str {
    place
        .split_once(SEPARATOR)
        .map_or(place, |(server, _)| server)
}

impl Address {
    /// Reads what a server named, against its own address.
    ///
    /// # Errors
    /// [`UpstreamFault::ForeignEndpoint`] for any other scheme, host, port or a user name;
    /// [`UpstreamFault::BadAnswer`] for what is no URI reference (RFC 3986) of at most
    /// [`ENDPOINT_BYTES_MAX`] bytes, or could be read as two.
    pub fn resolve(target: &Target, named: &str) -> Result<Self, UpstreamFault> {
        const NO_ADDRESS: UpstreamFault =
            UpstreamFault::BadAnswer("an endpoint that is no address");
        // A backslash is a slash to some readers; the rest is dropped or rewritten by some.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        if named.len() > ENDPOINT_BYTES_MAX || !named.bytes().all(is_plain) {
            return Err(NO_ADDRESS);
        }
        // What follows a `#` is never sent.
        let named = named.split_once('#').map_or(named, |(named, _)| named);
        let own = target.address();
        let (scheme, rest) = own.split_once("://").ok_or(NO_ADDRESS)?;
        let (authority, path) = split_authority(rest);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let at = |path: &str| Ok(Self(format!("{scheme}://{authority}{path}")));
        if named.is_empty() {
            return Err(NO_ADDRESS);
        }
        let absolute = match scheme_of(named) {
            Some((named_scheme, rest)) => {
                if !named_scheme.eq_ignore_ascii_case(scheme) {
                    return Err(UpstreamFault::ForeignEndpoint);
                }
                Some(rest.strip_prefix("//").ok_or(NO_ADDRESS)?)
            }
            None => named.strip_prefix("//"),
        };
        if let Some(rest) = absolute {
            let (named_authority, path) = split_authority(rest);
            if !is_same_authority(scheme, authority, named_authority) {
                return Err(UpstreamFault::ForeignEndpoint);
            }
            return if path.starts_with('/') {
                at(path)
            } else {
                at(&format!("/{path}"))
            };
        }
        if named.starts_with('/') {
            return at(named);
        }
        if named.starts_with('?') {
            return at(&format!("{path}{named}"));
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        at(&format!("{folder}/{named}"))
    }

    /// As it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The authority, and what follows it: a path, a query or nothing.
fn split_authority(rest: &str) -> (&str, &str) {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, ""))
}

/// A scheme and what follows its colon (RFC 3986, section 3.1).
fn scheme_of(named: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = named.split_once(':')?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
    let begins = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic());
    (begins && scheme.chars().all(fits)).then_some((scheme, rest))
}

/// The server's own authority is in its normal form. Another spelling of it is foreign, letter case and the scheme's own
/// port aside.
fn is_same_authority(scheme: &str, own: &str, named: &str) -> bool {
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let is_own = |named: &str| named.eq_ignore_ascii_case(own);
    is_own(named) || named.strip_suffix(port).is_some_and(is_own)
}

#[cfg(test)]
mod tests;
