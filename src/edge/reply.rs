//! From the pipeline's answer to a response.

use futures::StreamExt as _;
use futures::channel::mpsc::Receiver;
use web_sys::Response;

use super::upstream::Passed;
use super::web;
use crate::error::PortalError;
use crate::mcp::Era;
use crate::mcp::event_stream::{Event, write_event};
use crate::portal::{Outgoing, Reply, ReplyBody};

const JSON_HEAD: [(&str, &str); 2] = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
];

const STREAM_HEAD: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
];

/// Makes the response.
pub(super) fn respond(reply: Reply<Passed>) -> Response {
    let Reply {
        status,
        headers,
        body,
        call: _,
    } = reply;
    let own = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let made = match body {
        // Most answers are JSON with status 200 and have one head.
        ReplyBody::Original(Passed::Buffer(buffer)) if status == 200 && headers.is_empty() => {
            Some(web::json_response(&buffer))
        }
        ReplyBody::Original(Passed::Response(response)) => Some(response),
        ReplyBody::Json(bytes) if status == 200 && headers.is_empty() => {
            Some(web::json_response_of(&bytes))
        }
        ReplyBody::Json(bytes) => {
            web::respond(status, JSON_HEAD.into_iter().chain(own), Some(&bytes))
        }
        ReplyBody::Original(Passed::Buffer(buffer)) => {
            let bytes = js_sys::Uint8Array::new(&buffer).to_vec();
            web::respond(status, JSON_HEAD.into_iter().chain(own), Some(&bytes))
        }
        ReplyBody::Empty => web::respond(status, own, None),
        ReplyBody::Events(events) => {
            let frames = events.map(|event| Ok::<_, worker::Error>(frame(event)));
            stream(worker::Response::from_stream(frames), own)
        }
    };
    made.unwrap_or_else(broken)
}

/// A stream of frames that are ready to be sent.
pub(super) fn frames(frames: Receiver<Vec<u8>>) -> Response {
    let frames = frames.map(Ok::<_, worker::Error>);
    stream(worker::Response::from_stream(frames), []).unwrap_or_else(broken)
}

/// An error of no particular request.
pub(super) fn error(error: &PortalError, era: Era, request_id: &str) -> Response {
    respond(Reply::error("null", error, era, request_id))
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

fn stream<'s>(
    response: worker::Result<worker::Response>,
    headers: impl IntoIterator<Item = (&'s str, &'s str)>,
) -> Option<Response> {
    let body = Response::from(response.ok()?).body()?;
    web::respond_stream(STREAM_HEAD.into_iter().chain(headers), &body)
}

/// What is left where the platform refuses to make a response.
pub(super) fn broken() -> Response {
    Response::from(worker::Response::builder().with_status(500).empty())
}
