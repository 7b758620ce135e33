//! Sessions as the core sees them: a client's own, and those with servers on its behalf.

use super::keeping::is_from_server;
use super::world::{CLIENT_CAPABILITIES, World};
use portcullis::limits::SESSION_PENDING_MAX;
use portcullis::portal::ports::{
    ClientFacts, Keeping, Parked, Sessions, UpstreamSession, random_id,
};

impl Sessions for World {
    fn client(&self) -> Option<ClientFacts> {
        if let Some(capabilities) = &*self.keeper.bridge.borrow() {
            return Some(ClientFacts {
                capabilities: capabilities.clone(),
                ..ClientFacts::portal()
            });
        }
        self.session.borrow().as_ref().map(|_| ClientFacts {
            capabilities: CLIENT_CAPABILITIES.to_owned(),
            info: r#"{"name":"agent","version":"1"}"#.to_owned(),
        })
    }

    fn upstream_session(&self, subject: &str, server: &str) -> Option<UpstreamSession> {
        match &*self.session.borrow() {
            Some(session) => session.upstreams.get(server).cloned(),
            None => {
                let key = (subject.to_owned(), server.to_owned());
                self.isolate_sessions.borrow().get(&key).cloned()
            }
        }
    }

    fn open_upstreams(&self) -> Vec<String> {
        let session = self.session.borrow();
        let mut open: Vec<String> = session
            .iter()
            .flat_map(|session| session.upstreams.keys().cloned())
            .collect();
        open.sort();
        open
    }

    async fn remember_upstream(&self, subject: &str, server: &str, upstream: UpstreamSession) {
        match &mut *self.session.borrow_mut() {
            Some(session) => {
                session.upstreams.insert(server.to_owned(), upstream);
            }
            None => {
                let key = (subject.to_owned(), server.to_owned());
                self.isolate_sessions.borrow_mut().insert(key, upstream);
            }
        }
    }

    async fn forget_upstream(&self, subject: &str, server: &str) {
        match &mut *self.session.borrow_mut() {
            Some(session) => {
                session.upstreams.remove(server);
                session.parked.retain(|(_, parked, _)| parked != server);
            }
            None => {
                let key = (subject.to_owned(), server.to_owned());
                self.isolate_sessions.borrow_mut().remove(&key);
            }
        }
    }

    fn note_connection(&self, place: &str, noted: Option<UpstreamSession>) {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else {
            return;
        };
        if let Some(noted) = noted {
            session.connections.insert(place.to_owned(), noted);
        } else {
            session.connections.remove(place);
            session.parked.retain(|(_, parked, _)| parked != place);
        }
    }

    fn connection(&self, place: &str) -> Option<UpstreamSession> {
        let session = self.session.borrow();
        session.as_ref()?.connections.get(place).cloned()
    }

    async fn park(&self, server: &str, what: Parked) -> Option<String> {
        let client_id = format!("\"{server}:{}\"", random_id(self));
        let mut session = self.session.borrow_mut();
        let parked = &mut session.as_mut()?.parked;
        if parked.len() >= SESSION_PENDING_MAX {
            return None;
        }
        self.step("parked".to_owned());
        parked.push((client_id.clone(), server.to_owned(), what));
        Some(client_id)
    }

    fn parked(&self, server: &str, upstream_id: &str) -> Option<String> {
        let session = self.session.borrow();
        let parked = &session.as_ref()?.parked;
        let found = parked
            .iter()
            .find(|row| row.1 == server && is_from_server(&row.2, upstream_id));
        found.map(|row| row.0.clone())
    }

    fn is_asking(&self, server: &str, call: Option<&str>) -> bool {
        if self.is_holding() {
            return call.is_some_and(|call| self.keeper.kept.borrow().is_waiting(call));
        }
        self.session
            .borrow()
            .as_ref()
            .is_some_and(|session| session.parked.iter().any(|(_, of, _)| of == server))
    }

    fn forget_parked(&self, call: &str) -> Vec<String> {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else {
            return Vec::new();
        };
        let is_of = |what: &Parked| match what {
            Parked::Server { call: own, .. } => own.as_deref() == Some(call),
            Parked::Round { call: own, .. } => own == call,
        };
        let forgotten = session.parked.iter().filter(|(_, _, what)| is_of(what));
        let forgotten = forgotten.map(|(id, _, _)| id.clone()).collect();
        session.parked.retain(|(_, _, what)| !is_of(what));
        forgotten
    }

    async fn unpark(&self, client_id: &str) -> Option<(String, Parked)> {
        let mut session = self.session.borrow_mut();
        let parked = &mut session.as_mut()?.parked;
        let at = parked.iter().position(|row| row.0 == client_id)?;
        let (_, server, what) = parked.remove(at);
        Some((server, what))
    }

    fn note_in_flight(&self, request_id: &str, server: Option<&str>) {
        let mut session = self.session.borrow_mut();
        let Some(session) = session.as_mut() else {
            return;
        };
        match server {
            Some(server) => {
                let server = server.to_owned();
                session.in_flight.insert(request_id.to_owned(), server);
            }
            None => {
                session.in_flight.remove(request_id);
            }
        }
    }

    fn in_flight(&self, request_id: &str) -> Option<String> {
        let session = self.session.borrow();
        session.as_ref()?.in_flight.get(request_id).cloned()
    }

    fn log_level(&self) -> Option<String> {
        self.session.borrow().as_ref()?.log_level.clone()
    }

    async fn set_log_level(&self, level: &str) {
        if let Some(session) = &mut *self.session.borrow_mut() {
            session.log_level = Some(level.to_owned());
        }
    }
}
