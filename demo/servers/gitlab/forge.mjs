import { randomBytes } from "node:crypto";
import { INTEGRATION_ACCOUNT } from "../../data/employees.mjs";

export function requireRepository(forge, path) {
  const repository = forge.repositories.find((candidate) => candidate.path === path);
  if (repository) return repository;
  throw new Error(
    `There is no project ${path}. Projects are ${forge.repositories.map((each) => each.path).join(", ")}.`,
  );
}

export function requireBranch(repository, name) {
  if (Object.hasOwn(repository.branches, name)) return repository.branches[name];
  const known = Object.keys(repository.branches).join(", ");
  throw new Error(`${repository.path} has no branch ${name}. Branches are ${known}.`);
}

export function requireMergeRequest(forge, path, iid) {
  requireRepository(forge, path);
  const found = forge.mergeRequests.find((each) => each.repository === path && each.iid === iid);
  if (found) return found;
  throw new Error(`${path} has no merge request !${iid}. Use list_merge_requests to find its number.`);
}

export function requireOpen(mergeRequest) {
  if (mergeRequest.state === "open") return mergeRequest;
  throw new Error(`!${mergeRequest.iid} of ${mergeRequest.repository} is ${mergeRequest.state} already.`);
}

/** The files a merge request changes: its own seed, and what its source branch has by now. */
export function changesOf(forge, mergeRequest) {
  const repository = requireRepository(forge, mergeRequest.repository);
  const target = requireBranch(repository, mergeRequest.target_branch);
  const source = repository.branches[mergeRequest.source_branch] ?? {};
  const changed = Object.entries(source).filter(([path, text]) => target[path] !== text);
  return { ...mergeRequest.changes, ...Object.fromEntries(changed) };
}

/** Records a commit of the integration account and starts a pipeline for it. */
export function recordCommit(forge, repository, branch, message) {
  const commit = {
    repository: repository.path,
    sha: randomBytes(4).toString("hex"),
    branch,
    author: INTEGRATION_ACCOUNT,
    message,
    at: new Date().toISOString(),
  };
  forge.commits.push(commit);
  forge.pipelines.push({
    id: Math.max(...forge.pipelines.map(({ id }) => id)) + 1,
    repository: repository.path,
    ref: branch,
    sha: commit.sha,
    status: "running",
    failed_job: null,
    duration_seconds: 0,
  });
  return commit;
}

export const toMergeRequestLine = (mergeRequest) => ({ ...mergeRequest, project: mergeRequest.repository });

export function toMergeRequest(forge, mergeRequest) {
  return { ...toMergeRequestLine(mergeRequest), changed_files: Object.keys(changesOf(forge, mergeRequest)) };
}

export function toProject(forge, repository) {
  return {
    ...repository,
    default_branch: repository.defaultBranch,
    open_merge_requests: forge.mergeRequests.filter(
      (each) => each.repository === repository.path && each.state === "open",
    ).length,
  };
}
