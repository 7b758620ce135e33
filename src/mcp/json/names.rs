//! Finds a member name that an object uses twice.

use std::{borrow::Cow, collections::BTreeSet};

/// Up to this many names are compared one by one; that beats any set, and most objects are smaller.
const COMPARED_NAMES_MAX: usize = 16;

/// The names of all objects that are open now.
///
/// Beyond [`COMPARED_NAMES_MAX`] the names go into an ordered set, not a hash set: this platform
/// seeds its hashes with a constant, so a caller could choose names that all collide.
#[derive(Default)]
pub(super) struct Names<'a> {
    open: Vec<Open<'a>>,
    few: Vec<Cow<'a, str>>,
}

/// One open object: its names are those of `few` from `first` on, until they move to `many`.
struct Open<'a> {
    first: usize,
    many: BTreeSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    /// An object begins.
    pub(super) fn open(&mut self) {
        self.open.push(Open {
            first: self.few.len(),
            many: BTreeSet::new(),
        });
    }

    /// The innermost object ends.
    pub(super) fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.few.truncate(open.first);
        }
    }

    /// Notes a decoded name of the innermost object; false if that object has used it before.
    pub(super) fn note(&mut self, name: Cow<'a, str>) -> bool {
        let Some(open) = self.open.last_mut() else {
            return true;
        };
        if !open.many.is_empty() {
            return open.many.insert(name);
        }
        let few = self.few.get(open.first..).unwrap_or_default();
        if few.contains(&name) {
            return false;
        }
        if few.len() < COMPARED_NAMES_MAX {
            self.few.push(name);
        } else {
            while self.few.len() > open.first {
                open.many.extend(self.few.pop());
            }
            open.many.insert(name);
        }
        true
    }
}
