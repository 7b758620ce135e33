//! The shapes of names: each function says what is wrong, or nothing.

use super::limits::{
    ALIAS_CHARS_MAX, EMAIL_CHARS_MAX, HOSTNAME_CHARS_MAX, ID_CHARS_MAX, LABEL_CHARS_MAX,
    PREFIX_CHARS_MAX,
};

fn is_lower_or_digit(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

/// The id of a portal, a server or an issuer.
pub(super) fn is_id(id: &str) -> bool {
    id.len() <= ID_CHARS_MAX
        && id.starts_with(is_lower_or_digit)
        && id.ends_with(is_lower_or_digit)
        && id
            .chars()
            .all(|letter| is_lower_or_digit(letter) || letter == '-')
}

/// What an id looks like, for messages.
pub(super) const ID_RULE: &str =
    "1 to 40 of a-z, 0-9 and `-`, beginning and ending with a letter or a digit";

/// A prefix of exposed names; the empty one is judged by the portals that list the server.
pub(super) fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty()
        || prefix.len() <= PREFIX_CHARS_MAX
            && prefix.starts_with(|letter: char| letter.is_ascii_alphanumeric())
            && prefix
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
}

/// A tool's alias: words of letters and digits, joined by single `_` or `-`.
pub(super) fn is_alias(alias: &str) -> bool {
    (1..=ALIAS_CHARS_MAX).contains(&alias.len())
        && alias.split(['_', '-']).all(|word| {
            !word.is_empty() && word.chars().all(|letter| letter.is_ascii_alphanumeric())
        })
}

/// A worker variable or binding: one of the openings, then at least one of A-Z, 0-9 and `_`.
pub(super) fn is_variable(name: &str, openings: &[&str]) -> bool {
    openings
        .iter()
        .filter_map(|opening| name.strip_prefix(opening))
        .any(|rest| {
            !rest.is_empty()
                && rest.chars().all(|letter| {
                    letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'
                })
        })
}

/// An HTTP header's name (RFC 9110 token).
pub(super) fn is_header(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter))
}

/// What is wrong with a host name as a portal, or the domain of an e-mail address, has it.
pub(super) fn host_fault(host: &str) -> Option<&'static str> {
    if host.contains("://") {
        return Some("write the host name only, without a scheme such as `https://`");
    }
    if host.contains('/') {
        return Some("write the host name only, without a path");
    }
    if host.contains(':') {
        return Some("write the host name only, without a port");
    }
    if host.contains('*') {
        return Some("a wildcard is not a host name; list each host name");
    }
    if !host.is_ascii() {
        return Some("write an international host name in its ASCII form (`xn--...`)");
    }
    if host.chars().any(|letter| letter.is_ascii_uppercase()) {
        return Some("host names are written in lower case");
    }
    if host.ends_with('.') {
        return Some("write the host name without its final dot");
    }
    let label = |label: &str| {
        (1..=LABEL_CHARS_MAX).contains(&label.len())
            && label.starts_with(is_lower_or_digit)
            && label.ends_with(is_lower_or_digit)
            && label
                .chars()
                .all(|letter| is_lower_or_digit(letter) || letter == '-')
    };
    if host.len() > HOSTNAME_CHARS_MAX || !host.split('.').all(label) {
        return Some("not a host name: labels of a-z, 0-9 and `-`, joined by dots");
    }
    None
}

/// An e-mail address in lower case, which is how addresses are compared.
pub(super) fn email(text: &str) -> Option<String> {
    // As identity does it: folding other letters would let one address pass for another.
    let lower = text.to_ascii_lowercase();
    let (local, domain) = lower.rsplit_once('@')?;
    let strange =
        |letter: char| letter.is_whitespace() || letter.is_control() || "@,;<>".contains(letter);
    let valid = lower.len() <= EMAIL_CHARS_MAX
        && !local.is_empty()
        && !local.contains(strange)
        && host_fault(domain).is_none();
    valid.then_some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let long = "a".repeat(40);
        for id in ["a", "7", "jira", "a-b", "a--b", &long] {
            assert!(is_id(id), "{id}");
        }
        for id in ["", "-", "a-", "-a", "A", "a_b", "a.b", "ä", &"a".repeat(41)] {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn prefixes() {
        for prefix in ["", "a", "Jira", "a_", "a-b_c", &"a".repeat(40)] {
            assert!(is_prefix(prefix), "{prefix}");
        }
        for prefix in ["_a", "-a", "a.b", "a b", "é", &"a".repeat(41)] {
            assert!(!is_prefix(prefix), "{prefix}");
        }
    }

    #[test]
    fn aliases() {
        for alias in ["a", "new_issue", "a-b_c", "A1"] {
            assert!(is_alias(alias), "{alias}");
        }
        for alias in ["", "_a", "a_", "a__b", "a_-b", "a b", &"a".repeat(41)] {
            assert!(!is_alias(alias), "{alias}");
        }
    }

    #[test]
    fn variables() {
        assert!(is_variable("UPSTREAM_JIRA_2", &["UPSTREAM_", "PROVIDER_"]));
        assert!(is_variable("PROVIDER_X", &["UPSTREAM_", "PROVIDER_"]));
        for name in [
            "UPSTREAM_",
            "UPSTREAM_a",
            "SETUP_TOKEN",
            "XUPSTREAM_A",
            "MCP_A",
        ] {
            assert!(!is_variable(name, &["UPSTREAM_", "PROVIDER_"]), "{name}");
        }
    }

    #[test]
    fn hosts() {
        for host in [
            "localhost",
            "a.b-c.example",
            "127.0.0.1",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(host_fault(host), None, "{host}");
        }
        for (host, part) in [
            ("https://a.example", "scheme"),
            ("a.example/x", "path"),
            ("a.example:80", "port"),
            ("*.a.example", "wildcard"),
            ("bücher.example", "ASCII"),
            ("A.example", "lower case"),
            ("a.example.", "final dot"),
            ("a..example", "labels"),
            ("-a.example", "labels"),
            ("a_b.example", "labels"),
            ("", "labels"),
        ] {
            assert!(host_fault(host).unwrap().contains(part), "{host}");
        }
        assert!(host_fault(&format!("{}.example", "a".repeat(64))).is_some());
        assert!(host_fault(&"a.".repeat(127).replace("a.", "ab.")).is_some());
    }

    #[test]
    fn emails() {
        assert_eq!(
            email("Alice@Acme.Example").as_deref(),
            Some("alice@acme.example")
        );
        for text in [
            "",
            "a",
            "@a.example",
            "a@",
            "a b@a.example",
            "a@b@c.example",
            "a@*.example",
        ] {
            assert_eq!(email(text), None, "{text}");
        }
    }
}
