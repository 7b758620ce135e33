//! Protocol revisions and the two eras they fall into (MCP 2026-07-28, basic/versioning).

/// How a peer conveys version, identity and capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Revisions with an `initialize` handshake and sessions: 2025-11-25 and earlier.
    Legacy,
    /// Revisions with per-request metadata: 2026-07-28 and later.
    Modern,
}

impl Era {
    /// The word used in configuration, audit and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

/// One protocol revision the portal speaks; its date where it is stored.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Revision {
    /// 2024-11-05: negotiated over Streamable HTTP for old clients.
    #[serde(rename = "2024-11-05")]
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP, the only revision with batches.
    #[serde(rename = "2025-03-26")]
    V2025_03_26,
    /// 2025-06-18: the protocol-version header, elicitation.
    #[serde(rename = "2025-06-18")]
    V2025_06_18,
    /// 2025-11-25: polling streams, elicitation by URL.
    #[serde(rename = "2025-11-25")]
    V2025_11_25,
    /// 2026-07-28: stateless.
    #[serde(rename = "2026-07-28")]
    V2026_07_28,
}

impl Revision {
    /// Newest first, as advertised.
    pub const ALL: [Self; 5] = [
        Self::V2026_07_28,
        Self::V2025_11_25,
        Self::V2025_06_18,
        Self::V2025_03_26,
        Self::V2024_11_05,
    ];

    /// The newest revision with a handshake.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;

    /// The newest revision without one.
    pub const LATEST_MODERN: Self = Self::V2026_07_28;

    /// The revision by its date, where the portal speaks it.
    #[must_use]
    pub fn parse(date: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|revision| revision.as_str() == date)
    }

    /// The date on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era the revision belongs to.
    #[must_use]
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 {
            Era::Modern
        } else {
            Era::Legacy
        }
    }

    /// What a client that asked for `requested` in `initialize` is answered with: its own revision where the portal
    /// speaks it and it has a handshake, else the newest that has one (2025-11-25, basic/lifecycle).
    #[must_use]
    pub fn negotiate(requested: &str) -> Self {
        Self::parse(requested)
            .filter(|revision| revision.era() == Era::Legacy)
            .unwrap_or(Self::LATEST_LEGACY)
    }

    /// Whether a body may be an array of messages.
    #[must_use]
    pub fn has_batches(self) -> bool {
        self == Self::V2025_03_26
    }
}

/// Whether a version string belongs to the modern era, known to the portal or not: dates compare as text.
#[must_use]
pub fn is_modern_date(date: &str) -> bool {
    date.len() == 10 && date >= Revision::LATEST_MODERN.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiation_keeps_the_clients_revision_or_offers_the_newest_with_a_handshake() {
        assert_eq!(Revision::negotiate("2024-11-05"), Revision::V2024_11_05);
        assert_eq!(Revision::negotiate("2025-06-18"), Revision::V2025_06_18);
        assert_eq!(Revision::negotiate("1999-01-01"), Revision::V2025_11_25);
        assert_eq!(Revision::negotiate("2026-07-28"), Revision::V2025_11_25);
    }

    #[test]
    fn unknown_future_dates_are_modern() {
        assert!(is_modern_date("2027-01-01"));
        assert!(!is_modern_date("2025-11-25"));
        assert!(!is_modern_date("latest"));
    }
}
