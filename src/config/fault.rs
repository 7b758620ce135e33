//! What can be wrong with a document, gathered rather than met one by one.

use std::cell::RefCell;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::limits::ERRORS_MAX;

/// One error of a document: where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// JSON pointer (RFC 6901) into the document; for something missing, the table that lacks it.
    pub pointer: String,
    /// A sentence for whoever wrote the document.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() {
            "(document)"
        } else {
            &self.pointer
        };
        write!(formatter, "{place}: {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

/// The errors found so far. Shared by all nodes of one document, and borrowed only for the length of a push.
#[derive(Debug, Default)]
pub(super) struct Faults {
    found: RefCell<Vec<ConfigError>>,
}

impl Faults {
    pub(super) fn add(&self, pointer: String, message: String) {
        let mut found = self.found.borrow_mut();
        if found.len() < ERRORS_MAX {
            found.push(ConfigError { pointer, message });
        } else if found.len() == ERRORS_MAX {
            let message = format!("more than {ERRORS_MAX} errors; the rest is not shown");
            found.push(ConfigError {
                pointer: String::new(),
                message,
            });
        }
    }

    pub(super) fn into_result<T>(self, valid: T) -> Result<T, Vec<ConfigError>> {
        let found = self.found.into_inner();
        if found.is_empty() {
            Ok(valid)
        } else {
            Err(found)
        }
    }
}
