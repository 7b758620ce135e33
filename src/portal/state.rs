//! `requestState`: what a client carries from one round of a call to the next, sealed to the person, the portal, the
//! server and the request it belongs to (MCP 2026-07-28, basic/patterns/mrtr, "Server Requirements").

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::caller::Caller;
use super::ports::Ports;
use crate::error::{Internal, PortalError, Rejection};
use crate::mcp::Method;
use crate::seal::Binding;

/// What a state says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The server's own, to be given back to it.
    Server(String),
    /// The server wanted links followed before it began: the call is made as if for the first time.
    Again,
    /// The call waits in an object of the portal.
    Held(HeldState),
}

/// Where a call waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldState {
    /// The object's name.
    #[serde(rename = "o")]
    pub object: String,
    /// The call there.
    #[serde(rename = "c")]
    pub call: String,
    /// Which of its rounds: a state is good for one.
    #[serde(rename = "r")]
    pub round: u32,
    /// When it was given out, in Unix milliseconds.
    #[serde(rename = "t")]
    pub issued_ms: u64,
}

impl State {
    fn to_text(&self) -> String {
        match self {
            Self::Server(text) => format!("S{text}"),
            Self::Again => "A".to_owned(),
            Self::Held(held) => format!("H{}", serde_json::to_string(held).unwrap_or_default()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.get(1..)?;
        match text.as_bytes().first()? {
            b'S' => Some(Self::Server(rest.to_owned())),
            b'A' => Some(Self::Again),
            b'H' => serde_json::from_str(rest).ok().map(Self::Held),
            _ => None,
        }
    }
}

/// The request a state belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method.
    pub method: Method,
    /// The server.
    pub server: &'a str,
    /// The server's own name of what it is about.
    pub target: &'a str,
    /// Its arguments as JSON text; empty where it has none.
    pub arguments: &'a str,
}

impl Asked<'_> {
    /// Server, method, target and a digest of the arguments, however their keys are ordered and spaced.
    fn digest(&self) -> String {
        let value: Value = serde_json::from_str(self.arguments).unwrap_or_default();
        let mut digest = String::with_capacity(128);
        for part in [
            self.server,
            " ",
            self.method.as_str(),
            " ",
            self.target,
            " ",
        ] {
            digest.push_str(part);
        }
        crate::hex::push(&mut digest, &Sha256::digest(value.to_string()));
        digest
    }
}

fn binding<'a>(caller: &'a Caller, digest: &'a str) -> Binding<'a> {
    Binding {
        kind: "request_state",
        principal: &caller.principal.subject,
        place: &caller.portal.id,
        request: digest,
    }
}

/// Seals a state for the client.
///
/// # Errors
/// [`Internal::Platform`], which never happens.
pub fn seal<P: Ports>(
    ports: &P,
    caller: &Caller,
    asked: Asked<'_>,
    state: &State,
) -> Result<String, PortalError> {
    let mut nonce = [0_u8; 24];
    ports.fill(&mut nonce);
    let digest = asked.digest();
    let (binding, text) = (binding(caller, &digest), state.to_text());
    let sealed = ports
        .sealer()
        .seal(binding, text.as_bytes(), ports.now_ms(), nonce);
    sealed.ok_or_else(|| Internal::Platform.into())
}

/// Opens what a client brought.
///
/// # Errors
/// [`Rejection::BadSeal`]: forged, too old, or another person's, server's or request's.
pub fn open<P: Ports>(
    ports: &P,
    caller: &Caller,
    asked: Asked<'_>,
    sealed: &str,
) -> Result<State, PortalError> {
    let digest = asked.digest();
    ports
        .sealer()
        .open(binding(caller, &digest), sealed, ports.now_ms())
        .and_then(|bytes| State::parse(&String::from_utf8(bytes).ok()?))
        .ok_or_else(|| Rejection::BadSeal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_they_were_written() {
        let held = State::Held(HeldState {
            object: "bridge:1".into(),
            call: "c".into(),
            round: 3,
            issued_ms: 4,
        });
        for state in [
            State::Server(String::new()),
            State::Server("Hé".into()),
            State::Again,
            held,
        ] {
            assert_eq!(State::parse(&state.to_text()), Some(state));
        }
        assert_eq!(State::parse("H{}"), None);
        assert_eq!(State::parse(""), None);
        assert_eq!(State::parse("é"), None);
    }

    #[test]
    fn a_digest_is_of_what_is_asked_and_not_of_its_spelling() {
        let asked = |arguments| Asked {
            method: Method::ToolsCall,
            server: "s",
            target: "t",
            arguments,
        };
        let one = asked(r#"{"a":1,"b":[2]}"#).digest();
        assert_eq!(one, asked(r#"{ "b": [2], "a": 1 }"#).digest());
        assert_ne!(one, asked(r#"{"a":1,"b":[3]}"#).digest());
        assert_ne!(asked("").digest(), asked("{}").digest());
    }
}
