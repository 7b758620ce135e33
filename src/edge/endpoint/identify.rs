//! Step 2: who calls, by the token they bring.

use std::rc::Rc;

use worker::Env;

use super::{Arrival, path_of};
use crate::config::{Issuer, Portal, TokenSource};
use crate::edge::isolate;
use crate::edge::keys::EdgeKeys;
use crate::edge::ports::now_ms;
use crate::error::{PortalError, Rejection};
use crate::identity::{self, Principal, TokenRefusal, claims};
use crate::portal::caller::Active;

/// (2) Who calls. No token is nobody, whom only a bypass rule admits; a token that does not hold is refused.
pub(super) async fn identify(
    arrival: &Arrival,
    active: &Active,
    portal: &Portal,
    named: Option<&str>,
) -> Result<Rc<Principal>, PortalError> {
    let has = |source: TokenSource| {
        active
            .config
            .issuers
            .iter()
            .any(|issuer| issuer.source == source)
    };
    let asserted = has(TokenSource::CfAccess)
        .then(|| arrival.head.access_assertion.clone())
        .flatten();
    let (token, source) = match asserted {
        Some(token) => (token, TokenSource::CfAccess),
        None => match arrival.head.authorization.as_deref() {
            Some(header) => {
                let token = identity::bearer_token(header)
                    .ok_or(Rejection::Unauthenticated(Some(TokenRefusal::Malformed)))?
                    .to_owned();
                (token, TokenSource::Authorization)
            }
            None => return Ok(Rc::new(Principal::anonymous())),
        },
    };
    let principal = verified(&arrival.ports.env, &token, source, &active.config.issuers)
        .await
        .map_err(|refusal| Rejection::Unauthenticated(Some(refusal)))?;
    let path = path_of(named);
    let own = format!("{}{path}", arrival.address.origin);
    let mut audiences: Vec<&str> = portal.audience.iter().map(String::as_str).collect();
    audiences.push(&own);
    claims::check_audience(&principal, &audiences)
        .map_err(|refusal| Rejection::Unauthenticated(Some(refusal)))?;
    Ok(principal)
}

async fn verified(
    env: &Rc<Env>,
    token: &str,
    source: TokenSource,
    issuers: &[Rc<Issuer>],
) -> Result<Rc<Principal>, TokenRefusal> {
    let now = now_ms();
    let cached = isolate::with(|isolate| {
        let tokens = match source {
            TokenSource::Authorization => &isolate.bearer_tokens,
            TokenSource::CfAccess => &isolate.access_tokens,
        };
        tokens.borrow_mut().get(token, now)
    });
    if let Some(principal) = cached {
        return Ok(principal);
    }
    let issuers: Vec<Rc<Issuer>> = issuers
        .iter()
        .filter(|issuer| issuer.source == source)
        .cloned()
        .collect();
    let keys = EdgeKeys { env: env.clone() };
    let principal = Rc::new(identity::verify(token, &issuers, &keys, &keys, now).await?);
    isolate::with(|isolate| {
        let tokens = match source {
            TokenSource::Authorization => &isolate.bearer_tokens,
            TokenSource::CfAccess => &isolate.access_tokens,
        };
        tokens.borrow_mut().insert(token, principal.clone(), now);
    });
    Ok(principal)
}
