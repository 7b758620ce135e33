//! The bounds of a configuration document. They keep a document readable, one D1 row, and quick to read in an isolate.

/// Bytes of a document's JSON form. A D1 row holds 2 MB.
pub const DOCUMENT_BYTES_MAX: usize = 1_000_000;
/// Errors reported at once; beyond them nobody reads on.
pub const ERRORS_MAX: usize = 500;

/// Portals of a document.
pub const PORTALS_MAX: usize = 100;
/// Servers of a document.
pub const SERVERS_MAX: usize = 500;
/// Servers of one portal.
pub const SERVERS_PER_PORTAL_MAX: usize = 250;
/// Host names of one portal.
pub const HOSTNAMES_PER_PORTAL_MAX: usize = 20;
/// Further accepted audiences of one portal.
pub const AUDIENCES_PER_PORTAL_MAX: usize = 20;
/// Access rules of one portal: each is tried for every caller.
pub const RULES_PER_PORTAL_MAX: usize = 100;
/// Selectors in each of a rule's three lists.
pub const SELECTORS_PER_LIST_MAX: usize = 200;
/// Patterns in each list of a tool rule: each is tried for every tool.
pub const PATTERNS_PER_LIST_MAX: usize = 500;
/// Aliases of one server.
pub const ALIASES_PER_SERVER_MAX: usize = 500;
/// Headers one server's credential may set.
pub const HEADERS_PER_SERVER_MAX: usize = 20;
/// Issuers of a document.
pub const ISSUERS_MAX: usize = 20;
/// Groups of a document.
pub const GROUPS_MAX: usize = 500;
/// Members of one group.
pub const MEMBERS_PER_GROUP_MAX: usize = 5_000;

/// Characters of a portal's or server's id.
pub const ID_CHARS_MAX: usize = 40;
/// Characters of a prefix.
pub const PREFIX_CHARS_MAX: usize = 40;
/// Characters of a tool's alias.
pub const ALIAS_CHARS_MAX: usize = 40;
/// Characters of a display name, a group's name or a claim's name.
pub const NAME_CHARS_MAX: usize = 100;
/// Characters of a tool's replaced description.
pub const DESCRIPTION_CHARS_MAX: usize = 4_000;
/// Characters of an upstream tool's name and of a pattern for one.
pub const TOOL_NAME_CHARS_MAX: usize = 128;
/// Characters of an e-mail address (RFC 5321).
pub const EMAIL_CHARS_MAX: usize = 254;
/// Characters of a host name (RFC 1035).
pub const HOSTNAME_CHARS_MAX: usize = 253;
/// Characters of one label of a host name (RFC 1035).
pub const LABEL_CHARS_MAX: usize = 63;
/// Characters of a URL, and of a path on a service binding.
pub const URL_CHARS_MAX: usize = 2_000;
/// Characters of an audience.
pub const AUDIENCE_CHARS_MAX: usize = 500;
/// Characters of a secret's, a binding's or a header's name.
pub const VARIABLE_CHARS_MAX: usize = 80;
/// Characters of a claim's expected text.
pub const CLAIM_VALUE_CHARS_MAX: usize = 500;
/// Steps of a path into nested claims.
pub const CLAIM_STEPS_MAX: usize = 8;

/// Shortest wait for an upstream's answer.
pub const TIMEOUT_MS_MIN: u32 = 100;
/// Wait for an upstream's answer when the document does not say.
pub const TIMEOUT_MS_DEFAULT: u32 = 60_000;
/// Longest wait for an upstream's answer.
pub const TIMEOUT_MS_MAX: u32 = 600_000;
