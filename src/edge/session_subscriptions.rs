//! A session's subscriptions at modern servers: their rows, and the streams that are open for them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use serde::Deserialize;

use super::ports::EdgePorts;
use super::session_rows::SessionRows;
use super::session_streams::STANDALONE;
use crate::portal::subscriptions::{Feeds, Subscription, Subscriptions};

/// Made with the first subscription: few sessions have one.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS subscriptions \
                      (server TEXT NOT NULL, uri TEXT NOT NULL, PRIMARY KEY (server, uri))";

/// What is subscribed, as its rows say.
pub(super) struct Subscribed {
    subscribed: RefCell<BTreeSet<Subscription>>,
    feeds: Rc<Feeds>,
}

impl Subscribed {
    /// From the rows of a session, where it has any.
    pub(super) fn from_rows(rows: Option<&SessionRows>) -> Self {
        let subscribed = rows.map(SessionRows::subscriptions).unwrap_or_default();
        Self {
            subscribed: RefCell::new(subscribed),
            feeds: Rc::default(),
        }
    }

    /// Ends what is open.
    pub(super) fn close(&self) {
        self.subscribed.borrow_mut().clear();
        self.feeds.release();
    }
}

impl SessionRows {
    fn subscriptions(&self) -> BTreeSet<Subscription> {
        #[derive(Deserialize)]
        struct Row {
            server: String,
            uri: String,
        }
        // Without a table there is none.
        let rows: Vec<Row> = self.rows("SELECT server, uri FROM subscriptions", Vec::new());
        rows.into_iter().map(|row| (row.server, row.uri)).collect()
    }

    fn keep_subscription(&self, server: &str, uri: &str) -> bool {
        self.run(SCHEMA, Vec::new())
            && self.run(
                "INSERT OR IGNORE INTO subscriptions (server, uri) VALUES (?1, ?2)",
                vec![server.into(), uri.into()],
            )
    }

    fn drop_subscription(&self, server: &str, uri: &str) {
        self.run(
            "DELETE FROM subscriptions WHERE server = ?1 AND uri = ?2",
            vec![server.into(), uri.into()],
        );
    }
}

impl Subscriptions for EdgePorts {
    fn feeds(&self) -> Option<Rc<Feeds>> {
        let session = self.session.as_ref()?;
        Some(session.subscriptions.feeds.clone())
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        self.session.as_ref().map_or_else(Vec::new, |session| {
            let subscribed = session.subscriptions.subscribed.borrow();
            subscribed.iter().cloned().collect()
        })
    }

    fn keep_subscription(&self, server: &str, uri: &str) -> bool {
        // A session that ended meanwhile keeps nothing.
        let Some(session) = self.session.as_ref().filter(|s| s.opened().is_some()) else {
            return false;
        };
        let is_kept = session.rows.keep_subscription(server, uri);
        if is_kept {
            let mut subscribed = session.subscriptions.subscribed.borrow_mut();
            subscribed.insert((server.to_owned(), uri.to_owned()));
        }
        is_kept
    }

    fn drop_subscription(&self, server: &str, uri: &str) {
        if let Some(session) = &self.session {
            session.rows.drop_subscription(server, uri);
            let mut subscribed = session.subscriptions.subscribed.borrow_mut();
            subscribed.remove(&(server.to_owned(), uri.to_owned()));
        }
    }

    fn tell_client(&self, message: &[u8]) {
        if let Some(session) = &self.session {
            let message = String::from_utf8_lossy(message);
            session.streams.send_anywhere(&session.rows, &message);
        }
    }

    fn is_client_listening(&self) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.streams.is_connected(STANDALONE))
    }
}
