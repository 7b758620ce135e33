//! Every numeric bound of the portal, unit last, with its reason. A loop over input without a bound here is a bug.

/// Largest request body a client may send. Tool arguments are small; anything larger belongs in a resource.
pub const REQUEST_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest reply body of an upstream that is held in memory at once (an isolate has 128 MB for everything).
pub const REPLY_BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest single event read from an upstream's event stream.
pub const UPSTREAM_EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Largest single event sent to a client: official clients end the call, or the whole connection, beyond 1 MiB.
pub const CLIENT_EVENT_BYTES_MAX: usize = 1024 * 1024 - 1024;

/// Deepest nesting of a client's message.
pub const MESSAGE_DEPTH_MAX: u16 = 64;

/// Deepest nesting of an upstream's reply: schemas in listings nest deeper than calls do.
pub const REPLY_DEPTH_MAX: u16 = 256;

/// Messages in one batch of a 2025-03-26 client.
pub const BATCH_MESSAGES_MAX: usize = 50;

/// Longest tool, prompt or resource name accepted from anybody.
pub const NAME_BYTES_MAX: usize = 2048;

/// Longest JSON-RPC id accepted.
pub const ID_BYTES_MAX: usize = 256;

/// Items a portal returns on one page of a listing. Large pages save round trips; a page still fits one reply.
pub const PAGE_ITEMS_MAX: usize = 1000;

/// Pages read from one upstream listing before the server is called faulty.
pub const UPSTREAM_PAGES_MAX: usize = 100;

/// Items kept of one upstream listing.
pub const SERVER_ITEMS_MAX: usize = 10_000;

/// Bytes kept of one server's whole snapshot.
pub const SNAPSHOT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Requests to upstreams in flight at once for one client request: production allows six open connections.
pub const FAN_OUT_MAX: usize = 6;

/// A call whose server keeps its stream alive ends after this many of the server's time-outs: a time-out bounds
/// silence, this bounds everything.
pub const CALL_TIMEOUTS_MAX: u64 = 10;

/// Longest address that a server may name for its messages over HTTP+SSE: a path and a session's name fit many times.
pub const ENDPOINT_BYTES_MAX: usize = 4096;

/// Wait for that address once the server's stream is open, and no longer than the server's time-out. It is the first
/// thing a server says.
pub const ENDPOINT_MS_MAX: u64 = 5_000;

/// Requests of a server that are declined while its connection is opened or listed. Beyond them they are not read.
pub const DECLINED_MAX: usize = 20;

/// Messages of a server that are kept for the call they came before.
pub const EARLY_MESSAGES_MAX: usize = 100;

/// Time one request may spend on fetching listings that are missing.
pub const SYNC_DEADLINE_MS: u64 = 10_000;

/// A failed sync is not repeated for this long, so that a dead server does not slow every listing.
pub const SYNC_COOLDOWN_MS: u64 = 5_000;

/// Freshness of a listing whose server says nothing about it.
pub const SNAPSHOT_TTL_DEFAULT_MS: u64 = 300_000;

/// Shortest freshness that is honoured: below it a server could make every request a sync.
pub const SNAPSHOT_TTL_MIN_MS: u64 = 2_000;

/// Longest freshness that is honoured.
pub const SNAPSHOT_TTL_MAX_MS: u64 = 86_400_000;

/// Freshness the portal promises for its own listings. Short, since a rule may change at any time.
pub const LISTING_TTL_MS: u64 = 5_000;

/// How old an isolate's copy of configuration and revocations may be before it asks again.
pub const EPOCH_AGE_MAX_MS: u64 = 3_000;

/// While the store is away the last copy serves reads for this long, and writes not at all.
pub const STORE_OUTAGE_READS_MS: u64 = 60_000;

/// A sealed cursor, request state or id is refused after this long.
pub const SEAL_LIFETIME_MS: u64 = 3_600_000;

/// Shortest life of a sealed task id, and that of a task whose server names none. The server ends its tasks itself and may
/// lengthen their lives as it goes; a client may keep the id and come back.
pub const TASK_SEAL_MIN_MS: u64 = 86_400_000;

/// Longest life of a sealed task id, also of a task that never expires: whatever is sealed ends some day.
pub const TASK_SEAL_MAX_MS: u64 = 30 * 86_400_000;

/// Longest task id of a server. Sealed and in a header it must still fit what proxies accept.
pub const TASK_ID_BYTES_MAX: usize = 1024;

/// Largest sealed value a client may send back.
pub const SEALED_BYTES_MAX: usize = 64 * 1024;

/// Audit events an isolate holds before it stops serving reads (the ledger is away and nothing may be lost).
pub const AUDIT_QUEUE_EVENTS_MAX: usize = 2_000;

/// Age at which queued audit events are sent to the ledger: a trip there costs as much as half a call.
pub const AUDIT_FLUSH_MS: u64 = 50;

/// Rows moved from the ledger to D1 in one batch.
pub const AUDIT_BATCH_ROWS_MAX: usize = 1_000;

/// Bytes moved from the ledger to D1 in one batch: D1 takes values of 2 MB.
pub const AUDIT_BATCH_BYTES_MAX: usize = 1_000_000;

/// Ledger objects the audit trail is spread over.
pub const AUDIT_SHARDS: u32 = 4;

/// Idle life of a legacy session.
pub const SESSION_IDLE_MS: u64 = 86_400_000;

/// Events kept for replay in one session.
pub const SESSION_EVENTS_MAX: usize = 1_000;

/// Server-to-client requests that may wait for an answer in one session.
pub const SESSION_PENDING_MAX: usize = 100;

/// Requests of one session, or of one client that may be asked, that are under way at once: each has a few of the 10,000
/// timers of an object, and one timer too many is a panic.
pub const SESSION_REQUESTS_MAX: usize = 1_000;

/// Time a person has to answer a server's question: as long as a stream to the server may be held open for it.
pub const INPUT_WAIT_MS: u64 = 600_000;

/// Calls that one object holds for a client that may be asked: each has a stream to its server.
pub const HELD_CALLS_MAX: usize = 1_000;

/// Messages of a server that are kept for a held call while its client is away; then the server is read no further.
pub const HELD_MESSAGES_MAX: usize = 8;

/// Questions of one round of a call.
pub const QUESTIONS_MAX: usize = 32;

/// Rounds of questions in one call.
pub const ROUNDS_MAX: u32 = 32;

/// Time within which questions of a server become one round: servers that ask several things send them one after the other. Each call with a question takes this much longer.
pub const QUESTIONS_GATHER_MS: u64 = 10;

/// Resource subscriptions of one session or listening stream.
pub const SUBSCRIPTIONS_MAX: usize = 100;

/// Age at which a listing is fetched anew while somebody listens for its changes, where its server does not say how long
/// it holds: a listener hears of a change from the listings alone, and a minute is what a person waits for one.
pub const LISTENED_AGE_MS_MAX: u64 = 60_000;

/// Pause before a look at listings of which one is just being fetched, and so likely to be another soon.
pub const LOOK_AGAIN_MS: u64 = 500;

/// Time a server has to open its stream and to say which resources it honours: the client's own acknowledgment waits.
pub const SUBSCRIBE_MS_MAX: u64 = 10_000;

/// Servers whose pushes one listening stream holds open at once: two of production's six open connections are left for
/// what is asked meanwhile.
pub const LISTEN_STREAMS_MAX: usize = 4;

/// How often in a row a server's stream of pushes is taken up again before it is called lost.
pub const FEED_ATTEMPTS_MAX: u32 = 8;

/// A stream of pushes that stood this long begins to count its attempts anew.
pub const FEED_STEADY_MS: u64 = 10_000;

/// First pause before a stream of pushes is taken up again; each further one is twice as long.
pub const FEED_PAUSE_MS: u64 = 1_000;

/// Longest of these pauses: a server that restarts is back within a minute.
pub const FEED_PAUSE_MS_MAX: u64 = 30_000;

/// Time for ending a session with a server that nobody needs any more: nobody waits for it either.
pub const SESSION_END_MS_MAX: u64 = 5_000;

/// Time a stream may stay open while nothing but keep-alives flows.
pub const LISTEN_MS_MAX: u64 = 600_000;

/// Interval of keep-alive comments on a quiet stream.
pub const KEEP_ALIVE_MS: u64 = 15_000;

/// Upstream sessions an isolate remembers for callers without a session of their own.
pub const UPSTREAM_SESSIONS_MAX: usize = 1_000;
