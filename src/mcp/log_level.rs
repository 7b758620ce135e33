//! How severe a log message is: RFC 5424 severities as MCP names them (2025-11-25, server/utilities/logging).

/// From the least severe to the most.
pub const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// Where a level stands among [`LOG_LEVELS`]; nothing where it is none.
#[must_use]
pub fn severity(level: &str) -> Option<usize> {
    LOG_LEVELS.iter().position(|known| *known == level)
}

/// Whether somebody who asked for `wanted` gets messages of `level`. A message without a known level is one to get.
#[must_use]
pub fn is_wanted(level: &str, wanted: &str) -> bool {
    severity(wanted).is_some_and(|wanted| severity(level).is_none_or(|level| level >= wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered() {
        assert!(is_wanted("error", "warning") && is_wanted("warning", "warning"));
        assert!(!is_wanted("info", "warning"));
        assert!(is_wanted("custom", "debug") && !is_wanted("error", "loud"));
    }
}
