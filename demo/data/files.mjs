/**
 * The shared drive at the start. Text files carry `text`, binary ones `base64`.
 */

export const FOLDERS = ["/", "/Finance", "/Finance/2026", "/Engineering", "/Support", "/Company"];

const PIXEL_PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const file = (id, name, folder, owner, mimeType, body, readers, modified = "2026-11-10T09:00:00.000Z") => ({
  id,
  name,
  folder,
  owner,
  mimeType,
  ...(mimeType.startsWith("image/") ? { base64: body } : { text: body }),
  permissions: [
    { grantee: owner, role: "owner" },
    ...readers.map((grantee) => ({ grantee, role: "reader" })),
  ],
  modified,
  trashed: false,
});

const FINANCE = "group:finance";
const EVERYONE = "group:everyone";

export const FILES = [
  file(
    "f-101",
    "Q3 forecast.csv",
    "/Finance/2026",
    "alice@acme.example",
    "text/csv",
    "month,revenue_eur,card_fees_eur\n2026-07,412300.10,9120.44\n2026-08,398220.75,8977.03\n" +
      "2026-09,441018.02,9803.61\n",
    [FINANCE, "bob@acme.example"],
    "2026-10-02T08:10:00.000Z",
  ),
  file(
    "f-102",
    "Q4 forecast.csv",
    "/Finance/2026",
    "alice@acme.example",
    "text/csv",
    "month,revenue_eur,card_fees_eur\n2026-10,429005.55,10211.90\n2026-11,452000.00,10850.00\n" +
      "2026-12,497000.00,11900.00\n",
    [FINANCE],
    "2026-11-12T16:02:00.000Z",
  ),
  file(
    "f-103",
    "Payroll 2026.csv",
    "/Finance/2026",
    "dave@acme.example",
    "text/csv",
    "employee,iban,gross_eur\nalice@acme.example,DE89370400440532013000,5200\n" +
      "bob@acme.example,GB82WEST12345698765432,6100\ncarol@acme.example,FR1420041010050500013M02606,4100\n",
    [],
    "2026-10-28T12:00:00.000Z",
  ),
  file(
    "f-104",
    "Expense report template.md",
    "/Finance",
    "dave@acme.example",
    "text/markdown",
    "# Expense report\n\n| date | what | amount |\n| --- | --- | --- |\n",
    [EVERYONE],
    "2026-01-15T09:05:00.000Z",
  ),
  file(
    "f-105",
    "Vendor contracts.md",
    "/Finance",
    "dave@acme.example",
    "text/markdown",
    "# Vendor contracts\n\n- Card processor: renewal 2027-03-31, notice three months.\n" +
      "- Data centre: renewal 2026-12-31, notice given.\n",
    [FINANCE],
  ),
  file(
    "f-106",
    "Payout incident 2026-10-30.md",
    "/Engineering",
    "erin@acme.example",
    "text/markdown",
    "# Payout incident\n\nAt 09:14 a retried payout was sent twice (PAY-104). Customer: Northwind Bakery " +
      "(SUP-211). Fixed by merge request !41 of payments/ledger.\n",
    ["group:engineering", "carol@acme.example"],
    "2026-11-03T14:00:00.000Z",
  ),
  file(
    "f-107",
    "Architecture sketch.png",
    "/Engineering",
    "bob@acme.example",
    "image/png",
    PIXEL_PNG,
    ["group:engineering"],
    "2026-04-20T10:30:00.000Z",
  ),
  file(
    "f-108",
    "On-call rota.csv",
    "/Engineering",
    "bob@acme.example",
    "text/csv",
    "week,primary,backup\n2026-W47,bob@acme.example,erin@acme.example\n" +
      "2026-W48,erin@acme.example,bob@acme.example\n",
    [EVERYONE],
    "2026-11-16T06:00:00.000Z",
  ),
  file(
    "f-109",
    "Reply templates.md",
    "/Support",
    "carol@acme.example",
    "text/markdown",
    "# Reply templates\n\n## Double charge\n\nWe are sorry. The second charge was returned today.\n",
    [EVERYONE],
  ),
  file(
    "f-110",
    "Company handbook.md",
    "/Company",
    "grace@acme.example",
    "text/markdown",
    "# Company handbook\n\nFinance closes each month by the 20th. Support answers within one day.\n",
    [EVERYONE],
    "2026-02-01T09:00:00.000Z",
  ),
];
