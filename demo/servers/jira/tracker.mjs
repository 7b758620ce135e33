import { EMPLOYEES } from "../../data/employees.mjs";

/**
 * Finds one issue or says how to find the right key.
 *
 * @param {object} tracker
 * @param {string} key
 */
export function requireIssue(tracker, key) {
  const issue = tracker.issues.find((candidate) => candidate.key === key);
  if (!issue) throw new Error(`There is no issue ${key}. Use search_issues to find the right key.`);
  return issue;
}

/**
 * @param {object} tracker
 * @param {string} key
 */
export function requireProject(tracker, key) {
  const project = tracker.projects.find((candidate) => candidate.key === key);
  if (project) return project;
  const known = tracker.projects.map((candidate) => candidate.key).join(", ");
  throw new Error(`There is no project ${key}. Projects are ${known}.`);
}

/** @param {string} email */
export function requireEmployee(email) {
  if (EMPLOYEES.some((employee) => employee.email === email)) return email;
  throw new Error(`${email} does not work here. Use find_users to find the right address.`);
}

/** Stamps an issue as changed now. */
export function touch(issue) {
  issue.updated = new Date().toISOString();
  return issue;
}

/** The next free key of a project; numbers of deleted issues are not used again while higher ones exist. */
export function nextKey(tracker, project) {
  const numbers = tracker.issues
    .filter((issue) => issue.key.startsWith(`${project}-`))
    .map((issue) => Number(issue.key.slice(project.length + 1)));
  return `${project}-${Math.max(0, ...numbers) + 1}`;
}
