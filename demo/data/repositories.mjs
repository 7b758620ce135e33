/**
 * The code forge at the start: repositories with the files of their default branch, commits, pipelines.
 */

const ROUND_SOURCE = `/** Formats an amount of cents for an invoice. */
export function formatAmount(cents) {
  const euros = cents > 1_000_000 ? Math.round(cents / 100) : cents / 100;
  return euros.toFixed(2);
}
`;

const LEDGER_SOURCE = `/** Books one entry: what leaves one account arrives on the other. */
export function book(entries, { from, to, cents }) {
  entries.push({ account: from, cents: -cents }, { account: to, cents });
  return entries;
}
`;

export const REPOSITORIES = [
  {
    path: "payments/invoice-api",
    description: "Turns ledger entries into invoices",
    defaultBranch: "main",
    maintainers: ["bob@acme.example"],
    branches: {
      main: {
        "README.md": "# invoice-api\n\nDesign: wiki://acme/eng/ledger-design\n",
        "src/amount.mjs": ROUND_SOURCE,
        "src/server.mjs": "export const port = Number(process.env.PORT ?? 8080);\n",
      },
    },
  },
  {
    path: "payments/ledger",
    description: "Double-entry ledger of all payments",
    defaultBranch: "main",
    maintainers: ["bob@acme.example", "erin@acme.example"],
    branches: {
      main: {
        "README.md": "# ledger\n\nRunbook: wiki://acme/eng/payments-runbook\n",
        "src/book.mjs": LEDGER_SOURCE,
        "src/payout.mjs": 'export const payoutKey = ({ id }) => ["payout", id].join("-");\n',
        "migrations/0007_idempotency.sql": "alter table payouts add column idempotency_key text unique;\n",
      },
    },
  },
  {
    path: "platform/edge-config",
    description: "Routes and certificates of the edge",
    defaultBranch: "main",
    maintainers: ["grace@acme.example", "erin@acme.example"],
    branches: {
      main: {
        "README.md": "# edge-config\n\nOne file per host.\n",
        "hosts/edge.acme.example.toml": 'certificate = "edge-2025"\norigin = "10.0.4.12"\n',
      },
    },
  },
];

const commit = (repository, sha, author, message, at) => ({
  repository,
  sha,
  branch: "main",
  author,
  message,
  at,
});

export const COMMITS = [
  commit(
    "payments/invoice-api",
    "a41f09c2",
    "bob@acme.example",
    "Read the port from the environment",
    "2026-10-12T09:00:00.000Z",
  ),
  commit(
    "payments/invoice-api",
    "7be2d310",
    "bob@acme.example",
    "Round large invoices for display",
    "2026-10-29T16:30:00.000Z",
  ),
  commit(
    "payments/ledger",
    "c09d5e71",
    "bob@acme.example",
    "Book both sides of an entry",
    "2026-09-14T11:00:00.000Z",
  ),
  commit(
    "payments/ledger",
    "e5a8b924",
    "erin@acme.example",
    "PAY-104: one key per payout",
    "2026-11-02T13:10:00.000Z",
  ),
  commit(
    "platform/edge-config",
    "19c7f3ad",
    "grace@acme.example",
    "Point edge.acme.example to the new origin",
    "2026-08-30T07:20:00.000Z",
  ),
];

const pipeline = (id, repository, ref, sha, status, failedJob, seconds) => ({
  id,
  repository,
  ref,
  sha,
  status,
  failed_job: failedJob,
  duration_seconds: seconds,
});

export const PIPELINES = [
  pipeline(9001, "payments/invoice-api", "main", "7be2d310", "success", null, 74),
  pipeline(9002, "payments/invoice-api", "pay-101-keep-cents", "5d10c6f8", "success", null, 81),
  pipeline(9003, "payments/ledger", "main", "e5a8b924", "success", null, 122),
  pipeline(9004, "payments/ledger", "pay-102-csv-export", "b772ae09", "failed", "unit tests", 64),
  pipeline(9005, "platform/edge-config", "renew-edge-certificate", "42f6d1b3", "success", null, 18),
];
