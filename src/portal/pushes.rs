//! What modern servers push: changes of their listings and of resources.

use std::rc::Rc;

use futures::StreamExt as _;
use futures::future::{Either, select};
use futures::stream::{LocalBoxStream, SelectAll};
use serde_json::Value;

use super::caller::Caller;
use super::list::offer;
use super::ports::{BodyKind, Ports, UpstreamBody as _};
use crate::catalog::resolve;
use crate::config::PortalServer;
use crate::limits::{FAN_OUT_MAX, LISTEN_MS_MAX, UPSTREAM_EVENT_BYTES_MAX};
use crate::mcp::Era;
use crate::mcp::event_stream::EventReader;
use crate::mcp::reply::Glance;
use crate::policy::{Ask, decide};
use crate::upstream::body::own_request;
use crate::upstream::modern_request;

use super::listen::Filter;

/// The changes of listings that modern servers push, for a client that listens in a legacy session.
pub struct Pushes {
    sources: Sources,
}

impl Pushes {
    /// Opens the servers' streams.
    pub async fn begin<P: Ports>(ports: &P, caller: &Rc<Caller>) -> Self {
        let mut filter = Filter {
            tools: true,
            prompts: true,
            resources: true,
            uris: Vec::new(),
        };
        Self {
            sources: sources(ports, caller, &mut filter).await,
        }
    }

    /// Waits for the next change, at most so long: the notification's method, once the listing is marked as outdated.
    pub async fn next<P: Ports>(&mut self, ports: &P, wait_ms: u64) -> Option<&'static str> {
        let alarm = std::pin::pin!(ports.sleep_ms(wait_ms));
        if self.sources.is_empty() {
            alarm.await;
            return None;
        }
        match select(self.sources.next(), alarm).await {
            Either::Left((Some((server, Pushed::Changed(method))), _)) => {
                ports.outdate(&server).await;
                Some(method)
            }
            _ => None,
        }
    }
}

/// What a server pushed.
pub(super) enum Pushed {
    Changed(&'static str),
    Updated(String),
    /// Something about a task, as the server said it.
    Task(Vec<u8>),
    /// Nothing more comes about this server's tasks.
    TasksCut,
}

pub(super) type Sources = SelectAll<LocalBoxStream<'static, (String, Pushed)>>;

/// Opens the servers' own streams: first those whose resources are wanted, then as many others as connections allow.
/// Resources that nobody may push are taken out of the filter, so that the acknowledgment is true.
pub(super) async fn sources<P: Ports>(
    ports: &P,
    caller: &Rc<Caller>,
    filter: &mut Filter,
) -> Sources {
    let off = caller.toggled_off(ports).await;
    let is_off = |server: &str| off.contains(server);
    let mut wanted: Vec<(usize, Vec<String>)> = Vec::new();
    let mut honoured = Vec::new();
    for uri in &filter.uris {
        let found = resolve::by_uri(
            ports,
            &caller.portal,
            &caller.principal.subject,
            uri,
            &is_off,
        )
        .await;
        let Ok(target) = found else { continue };
        if !target.snapshot.facts.modern {
            continue;
        }
        honoured.push(uri.clone());
        match wanted
            .iter_mut()
            .find(|(index, _)| *index == target.server_index)
        {
            Some((_, uris)) => uris.push(uri.clone()),
            None => wanted.push((target.server_index, vec![uri.clone()])),
        }
    }
    filter.uris = honoured;
    if filter.tools || filter.prompts || filter.resources {
        let offer = offer(ports, caller).await;
        for (place, snapshot) in &offer.parts {
            let index = caller
                .portal
                .servers
                .iter()
                .position(|other| other.server.id == place.server.id);
            let Some(index) = index.filter(|_| snapshot.facts.modern) else {
                continue;
            };
            if wanted.len() < FAN_OUT_MAX && !wanted.iter().any(|(other, _)| *other == index) {
                wanted.push((index, Vec::new()));
            }
        }
    }
    let mut sources = SelectAll::new();
    for (index, uris) in wanted.into_iter().take(FAN_OUT_MAX) {
        let Some(place) = caller.portal.servers.get(index) else {
            continue;
        };
        if let Some(source) = source(ports, caller, place, filter, uris).await {
            sources.push(source);
        }
    }
    sources
}

async fn source<P: Ports>(
    ports: &P,
    caller: &Caller,
    place: &PortalServer,
    filter: &Filter,
    uris: Vec<String>,
) -> Option<LocalBoxStream<'static, (String, Pushed)>> {
    let permit = decide(&caller.admission, &caller.portal, place, Ask::Read).ok()?;
    let own = Filter {
        uris,
        ..filter.clone()
    };
    let members = format!("\"notifications\":{}", own.to_json());
    let body = own_request(
        "portcullis-listen",
        "subscriptions/listen",
        &members,
        Era::Modern,
    );
    let mut request = modern_request(
        &place.server,
        "subscriptions/listen",
        None,
        Vec::new(),
        body,
    );
    request.timeout_ms = LISTEN_MS_MAX;
    let reply = ports.send(&permit, &place.server, request).await.ok()?;
    if reply.status != 200 || reply.kind != BodyKind::Events {
        return None;
    }
    let state = (
        reply.body,
        EventReader::new(UPSTREAM_EVENT_BYTES_MAX),
        place.server.id.clone(),
    );
    let pushed = futures::stream::unfold(state, |(mut body, mut reader, server)| async move {
        loop {
            while let Some(event) = reader.next_event() {
                if let Some(pushed) = pushed(event.data.as_bytes()) {
                    return Some(((server.clone(), pushed), (body, reader, server)));
                }
            }
            let chunk = body.chunk().await?.ok()?;
            reader.push(&chunk).ok()?;
        }
    });
    Some(pushed.boxed_local())
}

fn pushed(message: &[u8]) -> Option<Pushed> {
    let glance = Glance::at(message).ok()?;
    match glance.method_name()? {
        "notifications/tools/list_changed" => {
            Some(Pushed::Changed("notifications/tools/list_changed"))
        }
        "notifications/prompts/list_changed" => {
            Some(Pushed::Changed("notifications/prompts/list_changed"))
        }
        "notifications/resources/list_changed" => {
            Some(Pushed::Changed("notifications/resources/list_changed"))
        }
        "notifications/resources/updated" => {
            let params: Value = serde_json::from_str(glance.params?.text).ok()?;
            Some(Pushed::Updated(params.get("uri")?.as_str()?.to_owned()))
        }
        _ => None,
    }
}
