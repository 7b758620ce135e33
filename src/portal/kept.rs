//! What a Durable Object keeps in memory of calls that outlive a request: a modern client's call that waits for its
//! caller's input, and a legacy client's call whose rounds of questions are under way. Rows of the object say the same;
//! what is here and not there are open streams.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use futures::channel::{mpsc, oneshot};
use serde_json::Value;

use super::hold::HeldCall;
use crate::upstream::source::{LastEventId, Messages};

/// Answers to the questions of one round, by key.
pub type Answers = BTreeMap<String, Value>;

/// The client answered a question with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// Calls in the memory of one object.
#[derive(Default)]
pub struct Kept {
    holds: RefCell<HashMap<String, Hold>>,
    last_hold: Cell<u64>,
    rounds: RefCell<HashMap<String, Round>>,
    cancels: RefCell<HashMap<String, oneshot::Sender<()>>>,
}

/// A modern client's call on a legacy server.
pub(super) struct Hold {
    /// Counts the calls of the object.
    pub number: u64,
    /// The id and progress token under which the server knows the call, as JSON text.
    pub sent_id: String,
    /// Puts in what the server says beside the call's own stream.
    pub inject: mpsc::Sender<Vec<u8>>,
    /// Where the call's stream can be taken up.
    pub last_event_id: LastEventId,
    /// What comes from the server, while nobody reads it.
    pub outbox: Option<Messages>,
    /// Ends the task that drains the server's stream, once there is one; with the call, it also tells the server.
    pub stop: Option<oneshot::Sender<HeldCall>>,
    /// What the row says, while the call is laid down or goes on after that.
    pub call: Option<HeldCall>,
    /// Whether there is a row.
    pub has_row: bool,
    /// Whether it waits for its caller.
    pub is_waiting: bool,
    /// Whether the server has answered meanwhile.
    pub is_answered: bool,
}

impl Hold {
    /// The call waits for its caller again.
    pub(super) fn wait(&mut self, call: HeldCall, outbox: Messages) {
        self.call = Some(call);
        self.outbox = Some(outbox);
        self.is_waiting = true;
    }
}

/// A round of questions to a legacy client.
struct Round {
    missing: Vec<String>,
    answers: Answers,
    done: Option<oneshot::Sender<Result<Answers, Refused>>>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Somebody waits for it.
    Taken,
    /// The call is not in memory: the object began anew since.
    NotHere,
}

impl Kept {
    pub(super) fn add_hold(&self, id: &str, mut hold: Hold) {
        hold.number = self.last_hold.get().wrapping_add(1);
        self.last_hold.set(hold.number);
        let before = self.holds.borrow_mut().insert(id.to_owned(), hold);
        drop(before);
    }

    /// Looks at a held call, or changes it.
    pub(super) fn with_hold<T>(&self, id: &str, look: impl FnOnce(&mut Hold) -> T) -> Option<T> {
        self.holds.borrow_mut().get_mut(id).map(look)
    }

    /// Forgets a held call; what drains its stream ends with it.
    pub(super) fn remove_hold(&self, id: &str) -> Option<Hold> {
        self.holds.borrow_mut().remove(id)
    }

    /// How many calls are held, waiting or not.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.holds.borrow().len()
    }

    /// Whether a held call waits for its caller: then its server's silence is no fault.
    #[must_use]
    pub fn is_waiting(&self, call: &str) -> bool {
        let holds = self.holds.borrow();
        holds.get(call).is_some_and(|hold| hold.is_waiting)
    }

    /// Gives a message of the server that came beside any call's stream to the call it can belong to: the one whose
    /// progress token it carries, else the oldest that is not answered. Which call hosts a question decides only whose
    /// caller is asked; the answer goes to the question's own id.
    pub(super) fn inject(&self, message: &[u8], token: Option<&str>) -> bool {
        let mut holds = self.holds.borrow_mut();
        let fits =
            |hold: &&mut Hold| !hold.is_answered && token.is_none_or(|token| hold.sent_id == token);
        let mut fitting: Vec<&mut Hold> = holds.values_mut().filter(fits).collect();
        fitting.sort_unstable_by_key(|hold| hold.number);
        let mut fitting = fitting.into_iter();
        fitting.any(|hold| hold.inject.try_send(message.to_vec()).is_ok())
    }

    /// Begins a round: the answers, once all are there. `given` are those that were there before.
    pub(super) fn begin_round(
        &self,
        call: &str,
        keys: impl IntoIterator<Item = String>,
        given: Answers,
    ) -> oneshot::Receiver<Result<Answers, Refused>> {
        let (done, receiver) = oneshot::channel();
        let missing: Vec<String> = keys
            .into_iter()
            .filter(|key| !given.contains_key(key))
            .collect();
        let mut round = Round {
            missing,
            answers: given,
            done: Some(done),
        };
        if let Some((done, answers)) = round.settled() {
            let _ = done.send(answers);
        }
        let before = self.rounds.borrow_mut().insert(call.to_owned(), round);
        drop(before);
        receiver
    }

    /// Takes an answer of the client: nothing is an error in its place.
    pub(super) fn give(&self, call: &str, key: &str, answer: Option<Value>) -> Given {
        let settled = {
            let mut rounds = self.rounds.borrow_mut();
            let Some(round) = rounds.get_mut(call) else {
                return Given::NotHere;
            };
            match answer {
                Some(answer) => {
                    round.missing.retain(|missing| missing != key);
                    round.answers.insert(key.to_owned(), answer);
                    round.settled()
                }
                None => round.done.take().map(|done| (done, Err(Refused))),
            }
        };
        // Outside of the borrow: who is woken may look into this memory.
        if let Some((done, answers)) = settled {
            let _ = done.send(answers);
        }
        Given::Taken
    }

    pub(super) fn end_round(&self, call: &str) {
        let ended = self.rounds.borrow_mut().remove(call);
        drop(ended);
    }

    /// Fires when the client cancels its request.
    pub(super) fn cancelled(&self, request_id: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let before = self
            .cancels
            .borrow_mut()
            .insert(request_id.to_owned(), sender);
        drop(before);
        receiver
    }

    pub(super) fn forget_cancel(&self, request_id: &str) {
        let forgotten = self.cancels.borrow_mut().remove(request_id);
        drop(forgotten);
    }

    /// The client cancels its request.
    pub fn cancel(&self, request_id: &str) {
        let sender = self.cancels.borrow_mut().remove(request_id);
        if let Some(sender) = sender {
            let _ = sender.send(());
        }
    }

    /// Forgets everything: the object ends.
    pub fn clear(&self) {
        let holds = std::mem::take(&mut *self.holds.borrow_mut());
        let rounds = std::mem::take(&mut *self.rounds.borrow_mut());
        let cancels = std::mem::take(&mut *self.cancels.borrow_mut());
        // Not under a borrow: streams that end look into this memory.
        for (_, sender) in cancels {
            let _ = sender.send(());
        }
        drop((holds, rounds));
    }
}

/// Whom to tell, and what.
type Settled = (
    oneshot::Sender<Result<Answers, Refused>>,
    Result<Answers, Refused>,
);

impl Round {
    fn settled(&mut self) -> Option<Settled> {
        if !self.missing.is_empty() {
            return None;
        }
        let done = self.done.take()?;
        Some((done, Ok(std::mem::take(&mut self.answers))))
    }
}
