// Every bound of the JavaScript rival, unit last.

export const MAX_BODY_BYTES = 4 * 1024 * 1024;
export const MAX_RESULT_BYTES = 16 * 1024 * 1024;
export const MAX_EVENT_CHARS = 16 * 1024 * 1024;
export const MAX_TOKEN_CHARS = 8192;
export const MAX_VERIFIED_TOKENS = 4096;
export const MAX_LIST_PAGES = 20;
export const CONFIG_FRESH_MS = 3000;
export const JWKS_FRESH_MS = 10 * 60 * 1000;
export const JWKS_RETRY_MS = 30 * 1000;
export const CLOCK_SKEW_S = 30;
export const AUDIT_LINGER_MS = 50;
export const AUDIT_BATCH_EVENTS = 128;
export const AUDIT_PENDING_EVENTS = 10_000;
export const AUDIT_TAKEOVER_MS = 2000;
export const AUDIT_FLUSH_MS = 500;
export const AUDIT_FLUSH_EVENTS = 1000;
export const UPSTREAM_WAIT_MS = 30_000;
