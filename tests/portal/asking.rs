//! A legacy client in a session, and a modern server that wants input before it answers.

use portcullis::mcp::Era;
use portcullis::portal::{Outgoing, rounds};
use serde_json::{Value, json};

use super::mcp_server::Speaks;
use super::scene::{Got, Scene, document};
use super::upstreams::Canned;

pub fn scene() -> Scene {
    scene_of(&document())
}

pub fn scene_of(document: &Value) -> Scene {
    let scene = Scene::of(document, Speaks::Modern, Speaks::Modern).synced();
    scene.world.with_session();
    // The first call learns whether the server speaks to older clients too.
    scene.call(Era::Legacy, "jira_get");
    scene.world.clear();
    scene
}

pub fn sample(text: &str) -> Value {
    let message = json!({"role":"user","content":{"type":"text","text":text}});
    json!({"method":"sampling/createMessage","params":{"messages":[message],"maxTokens":9}})
}

pub fn roots() -> Value {
    json!({"method":"roots/list"})
}

/// A result that asks for input, as the server sends it.
pub fn asks(requests: &Value, state: Option<&str>) -> Value {
    let mut result = json!({"resultType":"input_required","inputRequests":requests});
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    json!({"jsonrpc":"2.0","id":"$ID","result":result})
}

pub fn will_ask(scene: &Scene, requests: &Value, state: Option<&str>) {
    scene.jira.will_answer(Canned::json(asks(requests, state)));
}

/// The client answers a question.
pub fn answer(scene: &Scene, question: &Value, result: &Value) -> Got {
    let body = json!({"jsonrpc":"2.0","id":question["id"],"result":result});
    scene.send("alice", Era::Legacy, &body)
}

pub fn sampled(text: &str) -> Value {
    json!({"role":"assistant","model":"m","content":{"type":"text","text":text}})
}

/// The calls as the server got them.
pub fn calls(scene: &Scene) -> Vec<Value> {
    let sent = scene.world.upstreams.of("tools/call");
    sent.iter().map(super::upstreams::Sent::json).collect()
}

/// Nothing of a call is left in its session.
#[track_caller]
pub fn assert_nothing_left(scene: &Scene) {
    let session = scene.world.session();
    assert_eq!(session.parked, [], "questions");
    assert!(session.in_flight.is_empty(), "{:?}", session.in_flight);
    let calls = scene.world.keeper.calls.borrow();
    assert!(calls.is_empty(), "{calls:?}");
    assert_eq!(scene.world.upstreams.open(), 0, "connections");
}

/// The object ends while its client has a stream: nothing of that runs any more.
pub fn begin_anew(scene: &Scene, got: Got) {
    std::mem::forget(got);
    scene.world.begin_anew();
}

/// The only call that is kept.
#[track_caller]
pub fn kept_call(scene: &Scene) -> String {
    let calls = scene.world.keeper.calls.borrow();
    assert_eq!(calls.len(), 1);
    calls.keys().next().unwrap().clone()
}

/// The client comes back for the stream of the only call that is kept.
#[track_caller]
pub fn revived(scene: &Scene) -> Vec<Value> {
    let call = kept_call(scene);
    let world = &scene.world;
    let events = world.run(rounds::revive(world, &call)).expect("goes on");
    read(scene, events)
}

/// What is read from a call that was gone on with when its client answered.
#[track_caller]
pub fn revived_by_answer(scene: &Scene) -> Vec<Value> {
    let mut revived = scene.world.keeper.revived.borrow_mut();
    let events = revived.pop().expect("goes on");
    assert!(revived.is_empty(), "once");
    drop(revived);
    read(scene, events)
}

fn read(scene: &Scene, events: futures::stream::LocalBoxStream<'static, Outgoing>) -> Vec<Value> {
    let got: Vec<Outgoing> = scene.world.run(futures::StreamExt::collect(events));
    let message = |event: Outgoing| match event {
        Outgoing::Message(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Outgoing::KeepAlive => None,
    };
    got.into_iter().filter_map(message).collect()
}
