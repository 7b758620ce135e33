//! Calls of a modern client on a legacy server that may ask it: handed over by the worker, done by an object.

use super::SessionObject;
use crate::edge::hand_over::{HAND_OVER, HandOver};
use crate::edge::ports::EdgePorts;
use crate::edge::upstream::Passed;
use crate::edge::web;
use crate::error::{Internal, PortalError};
use crate::mcp::{Era, Message, Method, Request, Revision};
use crate::portal::ports::{ClientFacts, Original};
use crate::portal::questions::askable;
use crate::portal::{Caller, Reply, ReplyBody, call};

/// What the names of objects for modern clients' calls begin with. A client cannot name one: session ids are hexadecimal.
pub(super) const BRIDGE: &str = "bridge:";

/// Has an object do a modern client's call.
pub(in crate::edge) async fn hand_over_call(
    ports: &EdgePorts,
    caller: &Caller,
    object: &str,
    body: &[u8],
) -> Result<Passed, PortalError> {
    let hand_over = HandOver {
        session_id: object.to_owned(),
        portal: caller.portal.id.clone(),
        principal: (*caller.principal).clone(),
        agent: caller.agent.clone(),
        request_id: caller.request_id.clone(),
        received_ms: caller.received_ms,
        last_event_id: None,
    };
    let id = Message::id_of(body).map_or("null", |id| id.text);
    let lost = Reply::<Passed>::error(
        id,
        &Internal::Interrupted.into(),
        Era::Modern,
        &caller.request_id,
    );
    let ReplyBody::Json(lost) = lost.body else {
        return Err(Internal::Platform.into());
    };
    let call = web::ObjectCall {
        binding: "SESSIONS",
        name: object,
        method: "POST",
        header: Some((HAND_OVER, &hand_over.to_header())),
        body,
    };
    let response = web::hand_over(&ports.env, &call, &lost).await;
    response
        .map(Passed::Response)
        .ok_or_else(|| Internal::Interrupted.into())
}

impl SessionObject {
    /// One call of a modern client on a legacy server that may ask it.
    pub(super) async fn modern(
        &self,
        hand_over: HandOver,
        body: &[u8],
    ) -> Reply<Original<EdgePorts>> {
        let request_id = hand_over.request_id.clone();
        let refused =
            |id: &str, error: &PortalError| Reply::error(id, error, Era::Modern, &request_id);
        let Ok(Message::Request(request)) = Message::parse(body) else {
            return refused("null", &Internal::SessionState.into());
        };
        let id = request.id.text;
        let who = hand_over.clone();
        match self.modern_call(hand_over, &request).await {
            Ok(reply) => reply,
            Err((error, is_recorded)) => {
                if !is_recorded {
                    self.record_refusal(&who, Era::Modern, body, &error);
                }
                refused(id, &error)
            }
        }
    }

    /// The error comes with whether the pipeline recorded it.
    async fn modern_call(
        &self,
        hand_over: HandOver,
        request: &Request<'_>,
    ) -> Result<Reply<Original<EdgePorts>>, (PortalError, bool)> {
        let meta = &request.params.meta;
        let declared = meta.client_capabilities.map_or("{}", |raw| raw.text);
        let client = ClientFacts {
            capabilities: askable(declared).unwrap_or_else(|| "{}".to_owned()),
            info: meta
                .client_info
                .map_or_else(|| ClientFacts::portal().info, |info| info.text.to_owned()),
        };
        if !self.memory.set_bridge(&hand_over.session_id, client) {
            return Err((Internal::SessionState.into(), false));
        }
        self.touch();
        let ticket = self.memory.take_on();
        let _ticket = ticket.map_err(|error| (error.into(), false))?;
        let ports = self.ports().map_err(|error| (error, false))?;
        let caller = self
            .caller(hand_over, Revision::LATEST_MODERN, request.body.len())
            .await
            .map_err(|error| (error, false))?;
        for server in self.memory.upstreams() {
            self.memory.hear(&ports, &server).await;
        }
        let method =
            Method::parse(&request.method).ok_or((Internal::SessionState.into(), false))?;
        let done = call::call(&ports, &caller, method, request).await;
        done.map_err(|error| (error, true))
    }
}
