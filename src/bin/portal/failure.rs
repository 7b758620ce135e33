//! How a verb ends when it does not succeed, and how it prints.

use std::fmt;
use std::io::{self, Write};

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked wrongly: the usage is shown.
    Usage(String),
    /// It was asked rightly and the answer is no.
    Refused(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Refused(message)
    }
}

/// Prints to standard output. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: impl fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints to standard error, so that standard output stays what other programs read.
pub(crate) fn warn(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Text from elsewhere as it may be shown in a terminal: control characters could rewrite what stands there.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|letter| {
            if letter.is_control() && !matches!(letter, '\n' | '\t') {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}
