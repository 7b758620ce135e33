//! Virtual time, and the loop that drives a future through it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Steps after which a future is called endless.
const STEPS_MAX: u32 = 200_000;

#[derive(Default)]
pub struct Timers {
    now_ms: Cell<u64>,
    count: Cell<u64>,
    waiting: RefCell<BTreeMap<(u64, u64), Waker>>,
}

impl Timers {
    pub fn starting_at(now_ms: u64) -> Rc<Self> {
        let timers = Self::default();
        timers.now_ms.set(now_ms);
        Rc::new(timers)
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Lets time pass with nobody looking.
    pub fn pass(&self, ms: u64) {
        self.now_ms.set(self.now_ms.get() + ms);
    }

    pub fn sleep(self: &Rc<Self>, ms: u64) -> Sleep {
        self.count.set(self.count.get() + 1);
        Sleep {
            key: (self.now_ms().saturating_add(ms), self.count.get()),
            timers: self.clone(),
        }
    }

    /// Goes to the next moment somebody waits for.
    fn advance(&self) -> bool {
        let Some((at, _)) = self.waiting.borrow().keys().next().copied() else {
            return false;
        };
        self.now_ms.set(at.max(self.now_ms.get()));
        let due: Vec<Waker> = {
            let mut waiting = self.waiting.borrow_mut();
            let later = waiting.split_off(&(self.now_ms.get() + 1, 0));
            std::mem::replace(&mut *waiting, later)
                .into_values()
                .collect()
        };
        due.into_iter().for_each(Waker::wake);
        true
    }

    /// Drives a future to its end.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.run_until(future, u64::MAX).expect("ends in time")
    }

    /// Drives a future to its end, or drops it where it would wait beyond a moment.
    pub fn run_until<F: Future>(&self, future: F, until_ms: u64) -> Option<F::Output> {
        let mut future = pin!(future);
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(flag.clone());
        for _ in 0..STEPS_MAX {
            if flag.0.swap(false, Ordering::Relaxed) {
                let mut context = Context::from_waker(&waker);
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return Some(output);
                }
                continue;
            }
            let next = self.waiting.borrow().keys().next().map(|(at, _)| *at);
            if next.is_some_and(|at| at > until_ms) {
                self.now_ms.set(until_ms.max(self.now_ms()));
                return None;
            }
            assert!(self.advance(), "waits for nothing that could happen");
        }
        panic!("no end after {STEPS_MAX} steps")
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub struct Sleep {
    timers: Rc<Timers>,
    key: (u64, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timers.now_ms() >= self.key.0 {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        self.timers.waiting.borrow_mut().insert(self.key, waker);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.waiting.borrow_mut().remove(&self.key);
    }
}
