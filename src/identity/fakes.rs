use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub(crate) const ISSUER: &str = "https://idp.acme.example";

pub(crate) fn issuer() -> Issuer {
    Issuer {
        id: "acme".into(),
        issuer: ISSUER.into(),
        jwks_url: "https://idp.acme.example/jwks".parse().unwrap(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        groups_claim: "groups".into(),
        source: crate::config::TokenSource::Authorization,
    }
}

fn number(bytes: usize, seed: u8) -> String {
    URL_SAFE_NO_PAD.encode(vec![seed | 0x81; bytes])
}

pub(crate) fn rsa(kid: &str, seed: u8) -> Value {
    json!({ "kty": "RSA", "kid": kid, "n": number(256, seed), "e": "AQAB" })
}

pub(crate) fn ec(kid: &str, seed: u8) -> Value {
    let (x, y) = (number(32, seed), number(32, seed));
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y })
}

pub(crate) fn key_set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

fn only_key(jwk: &Value) -> Rc<Key> {
    let set = jwks::parse_key_set(&key_set(std::slice::from_ref(jwk))).unwrap();
    Rc::clone(&set.keys()[0])
}

fn signature(key: &Key, data: &[u8]) -> Vec<u8> {
    let digest = Sha256::new()
        .chain_update(&key.jwk_json)
        .chain_update(data)
        .finalize();
    digest
        .iter()
        .copied()
        .cycle()
        .take(key.signature_bytes)
        .collect()
}

pub(crate) fn sign_with(jwk: &Value, header: &Value, payload: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let data = format!("{}.{}", part(&header.to_string()), part(payload));
    let signature = signature(&only_key(jwk), data.as_bytes());
    format!("{data}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn sign(header: &Value, payload: &str) -> String {
    sign_with(&ec("e1", 1), header, payload)
}

pub(crate) fn with_verified<T>(
    token: &str,
    read: impl FnOnce(&unverified::Verified<'_>) -> Result<T, TokenRefusal>,
) -> Result<T, TokenRefusal> {
    let parsed = unverified::parse(token)?;
    let (verifier, key) = (Verifier::default(), only_key(&ec("e1", 1)));
    read(&run(parsed.prove(&verifier, &key, Algorithm::Es256))?)
}

pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..1_000 {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
    panic!("the future never ends");
}

pub(crate) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Default)]
pub(crate) struct Verifier {
    pub(crate) calls: Cell<usize>,
}

impl SignatureVerifier for Verifier {
    async fn verify(&self, key: &Key, algorithm: Algorithm, data: &[u8], sig: &[u8]) -> bool {
        assert_eq!((key.algorithm, key.signature_bytes), (algorithm, sig.len()));
        self.calls.set(self.calls.get() + 1);
        sig == signature(key, data)
    }
}

/// Serves `body`, after as many polls as `delay` says at the time.
#[derive(Default)]
pub(crate) struct Keys {
    pub(crate) states: RefCell<HashMap<String, Rc<KeySetState>>>,
    pub(crate) body: RefCell<Option<Vec<u8>>>,
    pub(crate) delay: Cell<usize>,
    pub(crate) fetches: Cell<usize>,
}

impl Keys {
    pub(crate) fn serving(keys: &[Value]) -> Self {
        let source = Self::default();
        source.serve(keys);
        source
    }

    pub(crate) fn serve(&self, keys: &[Value]) {
        *self.body.borrow_mut() = Some(key_set(keys));
    }

    pub(crate) fn go_away(&self) {
        *self.body.borrow_mut() = None;
    }
}

impl KeySource for Keys {
    fn state(&self, issuer_id: &str) -> Option<Rc<KeySetState>> {
        self.states.borrow().get(issuer_id).cloned()
    }

    fn remember(&self, issuer_id: &str, state: Rc<KeySetState>) {
        self.states.borrow_mut().insert(issuer_id.to_owned(), state);
    }

    async fn fetch(&self, _: &Issuer) -> Option<Vec<u8>> {
        self.fetches.set(self.fetches.get() + 1);
        let mut polls = self.delay.get();
        std::future::poll_fn(|context| {
            if polls == 0 {
                return Poll::Ready(());
            }
            polls -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        self.body.borrow().clone()
    }
}
