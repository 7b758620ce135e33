//! Identity providers whose tokens are believed.

use std::rc::Rc;

use super::Environment;
use super::limits::{ISSUERS_MAX, NAME_CHARS_MAX, URL_CHARS_MAX};
use super::name;
use super::node::{Node, Table, shown};
use super::target;
use super::web_url::{Scheme, WebUrl};

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its key in the document.
    pub id: String,
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub jwks_url: WebUrl,
    /// Accepted signatures; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The claim that lists a person's groups.
    pub groups_claim: String,
    /// The header its tokens come in.
    pub source: TokenSource,
}

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

/// Where a token is found in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TokenSource {
    /// `Authorization: Bearer`.
    #[default]
    Authorization,
    /// `Cf-Access-Jwt-Assertion`, set by Cloudflare Access.
    CfAccess,
}

const ALGORITHMS: [(&str, Algorithm); 2] =
    [("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256)];

pub(super) fn read_all(identity: &Node<'_, '_>, environment: &Environment) -> Vec<Rc<Issuer>> {
    let Some(table) = identity.table(&["issuers"]) else {
        return Vec::new();
    };
    let Some(node) = table.get("issuers") else {
        return Vec::new();
    };
    let mut issuers: Vec<Rc<Issuer>> = Vec::new();
    for (id, node) in node.entries(ISSUERS_MAX, "issuers") {
        if !name::is_id(id) {
            node.fault(format!(
                "`{}` is not an issuer id: {}",
                shown(id),
                name::ID_RULE
            ));
        }
        let Some(issuer) = read(id, &node, environment) else {
            continue;
        };
        let twin = issuers
            .iter()
            .find(|known| known.issuer == issuer.issuer && known.source == issuer.source);
        if let Some(twin) = twin {
            node.fault(format!(
                "the issuer `{}` has the same `issuer` and `header`",
                shown(&twin.id)
            ));
        }
        issuers.push(Rc::new(issuer));
    }
    issuers
}

fn read(id: &str, node: &Node<'_, '_>, environment: &Environment) -> Option<Issuer> {
    let table = node.table(&["issuer", "jwks_url", "algorithms", "groups_claim", "header"])?;
    let issuer = table
        .require("issuer")
        .and_then(|node| read_issuer(&node, environment));
    let jwks_url = table
        .require("jwks_url")
        .and_then(|node| target::read_url(&node, environment));
    let algorithms = read_algorithms(&table);
    let groups_claim = table
        .get("groups_claim")
        .and_then(|node| node.text(NAME_CHARS_MAX));
    let source = table.choice(
        "header",
        &[
            ("authorization", TokenSource::Authorization),
            ("cf_access", TokenSource::CfAccess),
        ],
        TokenSource::default(),
    );
    Some(Issuer {
        id: id.to_owned(),
        issuer: issuer?,
        jwks_url: jwks_url?,
        algorithms,
        groups_claim: groups_claim.unwrap_or("groups").to_owned(),
        source,
    })
}

/// The text is kept as written, since `iss` is compared character by character.
fn read_issuer(node: &Node<'_, '_>, environment: &Environment) -> Option<String> {
    let text = node.text(URL_CHARS_MAX)?;
    let fault = match (environment.parse_url)(text).map(|url| url.scheme()) {
        Some(Scheme::Https) => return Some(text.to_owned()),
        Some(Scheme::Http) if environment.local_development => return Some(text.to_owned()),
        Some(Scheme::Http) => {
            "an http issuer works in local development only (LOCAL_DEVELOPMENT); use https"
        }
        Some(Scheme::Other) => "an issuer is an https URL",
        None => "not a URL; write the exact `iss` of its tokens",
    };
    node.fault(fault);
    None
}

fn read_algorithms(table: &Table<'_, '_>) -> Vec<Algorithm> {
    let Some(node) = table.get("algorithms") else {
        return ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect();
    };
    let items = node.items(ALGORITHMS.len(), "algorithms");
    if items.is_empty() && node.value().is_array() {
        node.fault(
            "names no algorithm, so no token would be accepted; leave it out for RS256 and ES256",
        );
    }
    items
        .iter()
        .filter_map(|node| node.choice(&ALGORITHMS))
        .collect()
}
