/**
 * Merge requests at the start. `changes` hold the new text of each file, so that merging really changes the
 * target branch and the diff is computed, not stored.
 */

const CENTS_SOURCE = `/** Formats an amount of cents for an invoice. */
export function formatAmount(cents) {
  return (cents / 100).toFixed(2);
}
`;

const EXPORT_SOURCE = `/** One line per entry, amounts in euros with two digits. */
export function toCsv(entries) {
  return entries.map(({ account, cents }) => \`\${account},\${(cents / 100).toFixed(2)}\`).join("\\n");
}
`;

export const MERGE_REQUESTS = [
  {
    repository: "payments/invoice-api",
    iid: 17,
    title: "PAY-101: keep the cents of large invoices",
    description: "Drops the rounding above 10,000 EUR. Closes jira://issues/PAY-101",
    author: "bob@acme.example",
    state: "open",
    source_branch: "pay-101-keep-cents",
    target_branch: "main",
    approvals: [],
    notes: [
      { author: "erin@acme.example", body: "Is there a test for 10,000.01?", at: "2026-11-12T10:00:00.000Z" },
    ],
    changes: { "src/amount.mjs": CENTS_SOURCE },
    created: "2026-11-11T15:30:00.000Z",
  },
  {
    repository: "payments/ledger",
    iid: 41,
    title: "PAY-104: one key per payout",
    description: "Closes jira://issues/PAY-104. Incident report: drive://acme/files/f-106",
    author: "erin@acme.example",
    state: "merged",
    source_branch: "pay-104-idempotency",
    target_branch: "main",
    approvals: ["bob@acme.example"],
    notes: [],
    changes: {},
    created: "2026-10-31T09:00:00.000Z",
  },
  {
    repository: "payments/ledger",
    iid: 42,
    title: "PAY-102: export a period as CSV",
    description: "For the forecast: drive://acme/files/f-101",
    author: "bob@acme.example",
    state: "open",
    source_branch: "pay-102-csv-export",
    target_branch: "main",
    approvals: [],
    notes: [],
    changes: { "src/export.mjs": EXPORT_SOURCE },
    created: "2026-11-13T11:45:00.000Z",
  },
  {
    repository: "platform/edge-config",
    iid: 8,
    title: "OPS-32: renew the certificate of edge.acme.example",
    description: "Valid until November 2027.",
    author: "grace@acme.example",
    state: "open",
    source_branch: "renew-edge-certificate",
    target_branch: "main",
    approvals: ["erin@acme.example"],
    notes: [],
    changes: { "hosts/edge.acme.example.toml": 'certificate = "edge-2026"\norigin = "10.0.4.12"\n' },
    created: "2026-11-14T08:15:00.000Z",
  },
];
