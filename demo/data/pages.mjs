/**
 * The wiki at the start. `revisions` hold every text a page ever had, oldest first; a page shows its last
 * one. The runbook quotes a key from the vendor's public documentation, as real runbooks sadly do.
 */

export const SPACES = [
  { key: "fin", name: "Finance", owner: "dave@acme.example" },
  { key: "eng", name: "Engineering", owner: "bob@acme.example" },
  { key: "sup", name: "Support", owner: "carol@acme.example" },
  { key: "it", name: "IT", owner: "grace@acme.example" },
];

const page = (space, slug, title, status, labels, ...revisions) => ({
  space,
  slug,
  title,
  status,
  labels,
  revisions: revisions.map(([author, at, body], index) => ({ number: index + 1, author, at, body })),
});

const ALICE = "alice@acme.example";
const BOB = "bob@acme.example";
const CAROL = "carol@acme.example";
const DAVE = "dave@acme.example";
const ERIN = "erin@acme.example";
const GRACE = "grace@acme.example";

export const PAGES = [
  page(
    "fin",
    "month-end-close",
    "Month-end close",
    "published",
    ["checklist"],
    [DAVE, "2026-03-02T08:00:00.000Z", "# Month-end close\n\n1. Freeze the ledger period.\n2. Report.\n"],
    [
      ALICE,
      "2026-10-01T08:30:00.000Z",
      "# Month-end close\n\n1. Freeze the ledger period (ask Bob until PAY-102 is done).\n" +
        "2. Compare invoices with the ledger; differences go to the PAY project.\n" +
        "3. Update the forecast: drive://acme/files/f-101\n4. Dave signs off.\n5. Report.\n",
    ],
  ),
  page(
    "fin",
    "expense-policy",
    "Expense policy",
    "published",
    ["policy"],
    [
      DAVE,
      "2026-01-15T09:00:00.000Z",
      "# Expense policy\n\nReceipts above 25 EUR. Travel above 800 EUR needs approval by the finance lead. " +
        "Template: drive://acme/files/f-104\n",
    ],
  ),
  page(
    "fin",
    "q4-forecast-notes",
    "Q4 forecast notes",
    "draft",
    ["forecast"],
    [
      ALICE,
      "2026-11-12T16:20:00.000Z",
      "# Q4 forecast notes\n\nRevenue up 4 %, card fees up 11 %. Numbers: drive://acme/files/f-102\n",
    ],
  ),
  page(
    "eng",
    "payments-runbook",
    "Payments runbook",
    "published",
    ["runbook", "on-call"],
    [BOB, "2026-02-11T12:00:00.000Z", "# Payments runbook\n\nRestart order: ledger, then invoice-api.\n"],
    [
      ERIN,
      "2026-09-23T17:45:00.000Z",
      "# Payments runbook\n\nRestart order: ledger, then invoice-api.\n\n## Sandbox access\n\n" +
        "Access key id AKIAIOSFODNN7EXAMPLE (rotate me: PAY-103)\n\n## Payouts\n\n" +
        "Never retry a payout by hand, see PAY-104.\n",
    ],
  ),
  page(
    "eng",
    "ledger-design",
    "Ledger design",
    "published",
    ["design"],
    [
      BOB,
      "2026-04-20T10:00:00.000Z",
      "# Ledger design\n\nAmounts are integers of cents. Every entry has two sides. " +
        "Code: gitlab://acme/payments/ledger. Operations: wiki://acme/eng/payments-runbook\n",
    ],
  ),
  page(
    "eng",
    "review-guide",
    "Review guide",
    "published",
    ["process"],
    [
      ERIN,
      "2026-05-06T10:00:00.000Z",
      "# Review guide\n\nOne approval by somebody else, a green pipeline, and an issue key in the title.\n",
    ],
  ),
  page(
    "sup",
    "refund-policy",
    "Refund policy",
    "published",
    ["policy"],
    [
      CAROL,
      "2026-06-18T09:00:00.000Z",
      "# Refund policy\n\nUp to 200 EUR support decides alone. Above that ask finance. " +
        "Never write card numbers into tickets.\n",
    ],
  ),
  page(
    "sup",
    "escalations",
    "Escalations",
    "published",
    ["process"],
    [
      CAROL,
      "2026-07-01T09:00:00.000Z",
      "# Escalations\n\nDouble charges go to the PAY project with priority high. " +
        "Policy: wiki://acme/sup/refund-policy\n",
    ],
  ),
  page(
    "it",
    "managed-devices",
    "Managed devices",
    "published",
    ["security"],
    [
      GRACE,
      "2026-08-12T11:00:00.000Z",
      "# Managed devices\n\nEnrol at enrol.acme.example. Without enrolment the engineering portal stays " +
        "closed, whatever group you are in.\n",
    ],
  ),
  page(
    "it",
    "ai-portal",
    "The AI portal",
    "draft",
    ["security", "ai"],
    [
      GRACE,
      "2026-11-16T11:00:00.000Z",
      "# The AI portal\n\nOne address for every tool your assistant may use. " +
        "Devices: wiki://acme/it/managed-devices\n",
    ],
  ),
];
