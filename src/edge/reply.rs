//! From the pipeline's answer to a response.

use futures::StreamExt as _;
use futures::channel::mpsc::Receiver;
use js_sys::ArrayBuffer;
use web_sys::ResponseInit;
use worker::Response;

use super::web;
use crate::error::{PortalError, to_wire};
use crate::mcp::Era;
use crate::mcp::event_stream::{Event, write_event};
use crate::portal::{Outgoing, Reply, ReplyBody};

/// Makes the response.
pub(super) fn respond(reply: Reply<ArrayBuffer>) -> Response {
    let Reply {
        status,
        headers,
        body,
    } = reply;
    match body {
        ReplyBody::Json(bytes) => with_head(status, &headers, "application/json", |init| {
            web::respond_bytes(&bytes, init)
        }),
        ReplyBody::Original(buffer) => with_head(status, &headers, "application/json", |init| {
            web::respond_buffer(&buffer, init)
        }),
        ReplyBody::Empty => empty(status, &headers),
        ReplyBody::Events(events) => {
            let frames = events.map(|event| Ok::<_, worker::Error>(frame(event)));
            stream(Response::from_stream(frames), &headers)
        }
    }
}

/// A stream of frames that are ready to be sent.
pub(super) fn frames(frames: Receiver<Vec<u8>>) -> Response {
    stream(
        Response::from_stream(frames.map(Ok::<_, worker::Error>)),
        &[],
    )
}

/// An error of no particular request.
pub(super) fn error(error: &PortalError, era: Era, request_id: &str) -> Response {
    respond(Reply::error("null", error, era, request_id))
}

/// The body of an error of no particular request.
pub(super) fn error_body(error: &PortalError, era: Era, request_id: &str) -> Vec<u8> {
    crate::mcp::reply::error("null", &to_wire(error, era), request_id)
}

fn frame(event: Outgoing) -> Vec<u8> {
    match event {
        Outgoing::Message(message) => {
            let mut out = Vec::with_capacity(message.len().saturating_add(16));
            let data = String::from_utf8_lossy(&message).into_owned();
            write_event(
                &mut out,
                &Event {
                    data,
                    ..Event::default()
                },
            );
            out
        }
        Outgoing::KeepAlive => b":\n\n".to_vec(),
    }
}

/// Most answers are JSON with status 200 and have one head, made once.
fn with_head(
    status: u16,
    headers: &[(&'static str, String)],
    content_type: &str,
    respond: impl FnOnce(&ResponseInit) -> Option<web_sys::Response>,
) -> Response {
    let made = if status == 200 && headers.is_empty() {
        web::with_json_ok(respond)
    } else {
        let members = [
            ("content-type", content_type),
            ("cache-control", "no-store"),
        ];
        let all = members
            .into_iter()
            .chain(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let init = ResponseInit::new();
        init.set_status(status);
        init.set_headers(&web::object(all));
        respond(&init)
    };
    made.map_or_else(broken, Response::from)
}

fn empty(status: u16, headers: &[(&'static str, String)]) -> Response {
    let init = ResponseInit::new();
    init.set_status(status);
    init.set_headers(&web::object(
        headers.iter().map(|(name, value)| (*name, value.as_str())),
    ));
    web_sys::Response::new_with_opt_str_and_init(None, &init)
        .map_or_else(|_| broken(), Response::from)
}

fn stream(response: worker::Result<Response>, headers: &[(&'static str, String)]) -> Response {
    let Ok(mut response) = response else {
        return broken();
    };
    let own = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("x-accel-buffering", "no"),
    ];
    for (name, value) in own
        .into_iter()
        .chain(headers.iter().map(|(name, value)| (*name, value.as_str())))
    {
        let _ = response.headers_mut().set(name, value);
    }
    response
}

/// What is left where the platform refuses to make a response.
fn broken() -> Response {
    Response::builder().with_status(500).empty()
}
