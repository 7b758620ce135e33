/**
 * Who works at acme.example. The identity provider signs these facts into access tokens, and the four
 * servers use the same people as authors, assignees and owners.
 */

const MANAGED_MAC = { managed: true, disk_encrypted: true, os: "macos 26.1" };
const MANAGED_LINUX = { managed: true, disk_encrypted: true, os: "ubuntu 26.04" };
const OWN_LAPTOP = { managed: false, disk_encrypted: false, os: "windows 11" };

// Erin's laptop is unmanaged on purpose: she is in the right group for the engineering portal and is still
// kept out of it by the device rule. Mallory shows what a sign-in from another company meets.
export const EMPLOYEES = [
  {
    id: "emp-1001",
    email: "alice@acme.example",
    name: "Alice Moreau",
    title: "Financial analyst",
    groups: ["finance"],
    device: MANAGED_MAC,
    amr: ["hwk", "mfa"],
  },
  {
    id: "emp-1002",
    email: "bob@acme.example",
    name: "Bob Tanaka",
    title: "Payments engineer",
    groups: ["engineering"],
    device: MANAGED_LINUX,
    amr: ["hwk", "mfa"],
  },
  {
    id: "emp-1003",
    email: "carol@acme.example",
    name: "Carol Okafor",
    title: "Support specialist",
    groups: ["support"],
    device: MANAGED_MAC,
    amr: ["pwd", "otp", "mfa"],
  },
  {
    id: "emp-1004",
    email: "dave@acme.example",
    name: "Dave Lindqvist",
    title: "Finance lead",
    groups: ["finance", "finance-leads"],
    device: MANAGED_MAC,
    amr: ["hwk", "mfa"],
  },
  {
    id: "emp-1005",
    email: "erin@acme.example",
    name: "Erin Castellano",
    title: "Platform engineer",
    groups: ["engineering"],
    device: OWN_LAPTOP,
    amr: ["pwd"],
  },
  {
    id: "emp-1006",
    email: "grace@acme.example",
    name: "Grace Weber",
    title: "IT administrator",
    groups: ["it", "portal-admins"],
    device: MANAGED_LINUX,
    amr: ["hwk", "mfa"],
  },
  {
    id: "ext-2001",
    email: "mallory@partner.example",
    name: "Mallory Quint",
    title: "Outside contractor",
    groups: ["contractors"],
    device: OWN_LAPTOP,
    amr: ["pwd"],
  },
];

/** The account that the servers write as when nobody is named. */
export const INTEGRATION_ACCOUNT = "integration@acme.example";

/**
 * @param {string} login an e-mail address, in any case
 * @returns {(typeof EMPLOYEES)[number] | undefined}
 */
export function findByEmail(login) {
  const wanted = login.trim().toLowerCase();
  return EMPLOYEES.find((employee) => employee.email === wanted);
}

/**
 * @param {string} id the `sub` of a token
 * @returns {(typeof EMPLOYEES)[number] | undefined}
 */
export function findById(id) {
  return EMPLOYEES.find((employee) => employee.id === id);
}
