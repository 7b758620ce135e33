use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn number(bytes: usize, seed: u8) -> String {
    let mut number = vec![seed | 0x80; bytes];
    number[bytes - 1] = seed | 1;
    URL_SAFE_NO_PAD.encode(number)
}

fn rsa(kid: &str, seed: u8) -> Value {
    json!({ "kty": "RSA", "kid": kid, "n": number(256, seed), "e": "AQAB" })
}

fn ec(kid: &str, seed: u8) -> Value {
    json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": number(32, seed), "y": number(32, seed) })
}

fn with(mut key: Value, name: &str, value: Value) -> Value {
    key[name] = value;
    key
}

fn parse(keys: &[Value]) -> KeySet {
    parse_key_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

#[test]
fn keeps_the_minimal_public_key() {
    let published = with(
        with(rsa("a", 3), "alg", json!("RS256")),
        "x5c",
        json!(["MII"]),
    );
    let set = parse(&[with(published, "use", json!("sig"))]);
    let key = &set.keys()[0];
    assert_eq!((key.kty, key.algorithm), (KeyType::Rsa, Algorithm::Rs256));
    assert_eq!(key.signature_bytes, 256);
    let n = number(256, 3);
    assert_eq!(
        key.jwk_json,
        format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#)
    );

    let set = parse(&[with(ec("b", 5), "key_ops", json!(["verify"]))]);
    let key = &set.keys()[0];
    assert_eq!((key.kty, key.algorithm), (KeyType::Ec, Algorithm::Es256));
    let x = number(32, 5);
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{x}"}}"#);
    assert_eq!((&key.jwk_json, key.signature_bytes), (&canonical, 64));
}

#[test]
fn reads_numbers_written_carelessly() {
    let mut bytes = vec![0_u8];
    bytes.extend(URL_SAFE_NO_PAD.decode(number(256, 3)).unwrap());
    let padded = base64::engine::general_purpose::URL_SAFE.encode(bytes);
    assert!(padded.ends_with('='));
    let careless = with(rsa("a", 3), "n", json!(padded));
    assert_eq!(parse(&[careless]), parse(&[rsa("a", 3)]));
}

#[test]
fn leaves_out_what_cannot_verify() {
    let unusable = [
        json!("text"),
        json!({}),
        with(rsa("a", 3), "use", json!("enc")),
        with(rsa("a", 3), "key_ops", json!(["encrypt"])),
        with(rsa("a", 3), "alg", json!("RS512")),
        with(rsa("a", 3), "alg", json!("HS256")),
        with(rsa("a", 3), "kid", json!(7)),
        with(rsa("a", 3), "d", json!("AQ")),
        with(rsa("a", 3), "n", json!(number(255, 3))),
        with(rsa("a", 3), "n", json!(number(1_025, 3))),
        with(rsa("a", 3), "n", json!("")),
        with(rsa("a", 3), "n", json!("***")),
        with(rsa("a", 3), "e", json!("Aw")),
        with(rsa("a", 3), "e", json!("AQAA")),
        with(rsa("a", 3), "e", json!("AQAAAAAB")),
        with(rsa("a", 3), "e", Value::Null),
        with(ec("a", 3), "crv", json!("P-384")),
        with(ec("a", 3), "x", json!(number(31, 3))),
        with(ec("a", 3), "alg", json!("RS256")),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": number(32, 3) }),
    ];
    assert!(parse(&unusable).keys().is_empty());
    // 2,047 bits: the right number of bytes, one bit short.
    let mut short = vec![0x7f_u8; 256];
    short[255] = 1;
    let short = with(rsa("a", 3), "n", json!(URL_SAFE_NO_PAD.encode(short)));
    assert!(parse(&[short]).keys().is_empty());
}

#[test]
fn refuses_what_is_no_key_set() {
    for body in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]} x"#] {
        assert_eq!(
            parse_key_set(body.as_bytes()),
            Err(KeySetFault::Malformed),
            "{body}"
        );
    }
    assert_eq!(
        parse_key_set(br#"{"keys":[],"more":1}"#),
        Ok(KeySet::default())
    );
    let many = |count: usize| json!({ "keys": vec![json!({}); count] }).to_string();
    assert!(parse_key_set(many(KEYS_MAX).as_bytes()).is_ok());
    assert_eq!(
        parse_key_set(many(KEYS_MAX + 1).as_bytes()),
        Err(KeySetFault::TooManyKeys)
    );
    let mut large = b"{\"keys\":[]}".to_vec();
    large.resize(KEY_SET_BYTES_MAX, b' ');
    assert!(parse_key_set(&large).is_ok());
    large.push(b' ');
    assert_eq!(parse_key_set(&large), Err(KeySetFault::TooLarge));
}

#[test]
fn chooses_by_id_and_algorithm() {
    let set = parse(&[rsa("a", 3), rsa("b", 5), ec("a", 7)]);
    let chosen = |kid, algorithm| match set.choose(kid, algorithm) {
        Choice::Key(key) => Some((key.kty, key.kid.clone().unwrap())),
        Choice::Unknown => None,
    };
    assert_eq!(
        chosen(Some("a"), Algorithm::Rs256),
        Some((KeyType::Rsa, "a".into()))
    );
    assert_eq!(
        chosen(Some("a"), Algorithm::Es256),
        Some((KeyType::Ec, "a".into()))
    );
    assert_eq!(chosen(Some("b"), Algorithm::Es256), None);
    assert_eq!(chosen(Some("c"), Algorithm::Rs256), None);
    assert_eq!(
        chosen(None, Algorithm::Es256),
        Some((KeyType::Ec, "a".into()))
    );
    assert_eq!(chosen(None, Algorithm::Rs256), None);
}

#[test]
fn takes_neither_of_two_keys_with_one_id() {
    let set = parse(&[rsa("a", 3), rsa("a", 5)]);
    assert_eq!(set.choose(Some("a"), Algorithm::Rs256), Choice::Unknown);
    let repeated = parse(&[rsa("a", 3), rsa("a", 3)]);
    assert!(matches!(
        repeated.choose(Some("a"), Algorithm::Rs256),
        Choice::Key(_)
    ));
}

const T: u64 = 1_700_000_000_000;

fn fetched() -> KeySetState {
    let state = KeySetState::new("u").begun(T, false);
    state.succeeded(Rc::new(KeySet::default()), T)
}

fn decide(state: &KeySetState, now_ms: u64, kid_known: bool) -> Refresh {
    refresh_decision(Some(state), now_ms, kid_known)
}

#[test]
fn fetches_first_and_when_the_set_is_an_hour_old() {
    assert_eq!(refresh_decision(None, T, false), Refresh::Fetch);
    let state = fetched();
    assert!(state.is_settled());
    assert_eq!(decide(&state, T, true), Refresh::UseCached);
    assert_eq!(
        decide(&state, T + KEY_SET_FRESH_MS - 1, true),
        Refresh::UseCached
    );
    assert_eq!(decide(&state, T + KEY_SET_FRESH_MS, true), Refresh::Fetch);
}

#[test]
fn an_unknown_key_forces_one_fetch_per_cool_down() {
    let state = fetched();
    assert_eq!(decide(&state, T, false), Refresh::Fetch);
    let state = state.begun(T + 1, true);
    assert_eq!(
        decide(&state, T + FORCED_COOL_DOWN_MS, false),
        Refresh::CoolingDown
    );
    assert_eq!(
        decide(&state, T + FORCED_COOL_DOWN_MS, true),
        Refresh::UseCached
    );
    assert_eq!(
        decide(&state, T + 1 + FORCED_COOL_DOWN_MS, false),
        Refresh::Fetch
    );
}

#[test]
fn a_failure_keeps_the_old_set_for_a_day() {
    let late = T + KEY_SET_FRESH_MS;
    let state = fetched().begun(late, false).failed(late);
    assert!(!state.is_settled());
    assert_eq!(
        decide(&state, late + RETRY_COOL_DOWN_MS - 1, true),
        Refresh::CoolingDown
    );
    assert_eq!(
        decide(&state, late + RETRY_COOL_DOWN_MS, true),
        Refresh::Fetch
    );
    assert!(state.usable(T + KEY_SET_USABLE_MS - 1).is_some());
    assert!(state.usable(T + KEY_SET_USABLE_MS).is_none());
}

#[test]
fn a_cold_start_fetches_side_by_side_within_bounds() {
    let mut state = KeySetState::new("u");
    for _ in 0..COLD_FETCHES_MAX {
        assert_eq!(decide(&state, T, false), Refresh::Fetch);
        state = state.begun(T, false);
    }
    assert_eq!(decide(&state, T, false), Refresh::CoolingDown);
    assert_eq!(
        decide(&state, T + RETRY_COOL_DOWN_MS, false),
        Refresh::Fetch
    );
    let failed = KeySetState::new("u").begun(T, false).failed(T);
    assert_eq!(
        decide(&failed, T + RETRY_COOL_DOWN_MS - 1, false),
        Refresh::CoolingDown
    );
    assert_eq!(
        decide(&failed, T + RETRY_COOL_DOWN_MS, false),
        Refresh::Fetch
    );
}

#[test]
fn an_older_fetch_that_ends_late_changes_nothing() {
    let newer = Rc::new(parse(&[rsa("new", 3)]));
    let state = KeySetState::new("u").begun(T, false).begun(T + 9, true);
    let state = state.succeeded(Rc::clone(&newer), T + 9);
    assert_eq!(
        state.clone().succeeded(Rc::new(KeySet::default()), T),
        state
    );
    assert_eq!(state.clone().failed(T), state);
}

proptest! {
    #[test]
    fn never_panics(body in any::<Vec<u8>>(), n in "\\PC*", e in "[A-Za-z0-9_=-]{0,8}") {
        let _ = parse_key_set(&body);
        let key = json!({ "kty": "RSA", "n": n, "e": e });
        let _ = parse_key_set(json!({ "keys": [key] }).to_string().as_bytes());
    }
}
