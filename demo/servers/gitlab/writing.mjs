import { z } from "zod";
import { INTEGRATION_ACCOUNT } from "../../data/employees.mjs";
import { ADDS, DESTROYS, SETS } from "../tool.mjs";
import {
  changesOf,
  recordCommit,
  requireBranch,
  requireMergeRequest,
  requireOpen,
  requireRepository,
  toMergeRequest,
} from "./forge.mjs";
import { BranchName, Commit, FilePath, Iid, MergeRequest, Note, Pipeline, ProjectPath } from "./schema.mjs";

/**
 * The tools of the code forge that change it.
 *
 * @param {object} forge
 * @returns {import("../tool.mjs").Tool[]}
 */
export function writingTools(forge) {
  return [
    {
      name: "create_branch",
      title: "Create a branch",
      description: "Create a branch from another one, the default branch unless named.",
      annotations: ADDS,
      input: z.object({ project: ProjectPath, name: BranchName, from: BranchName.default("main") }),
      run: ({ project, name, from }) => {
        const repository = requireRepository(forge, project);
        if (Object.hasOwn(repository.branches, name))
          throw new Error(`${project} has a branch ${name} already.`);
        repository.branches[name] = { ...requireBranch(repository, from) };
        return `Branch ${name} of ${project} starts at ${from}.`;
      },
    },
    {
      name: "commit_file",
      title: "Commit a file",
      description: "Write one file on a branch as a commit. Not on the default branch: open a merge request.",
      annotations: DESTROYS,
      input: z.object({
        project: ProjectPath,
        branch: BranchName,
        path: FilePath,
        text: z.string().max(200_000),
        message: z.string().min(3).max(200),
      }),
      output: z.object({ commit: Commit }),
      run: ({ project, branch, path, text, message }) => {
        const repository = requireRepository(forge, project);
        if (branch === repository.defaultBranch) {
          throw new Error(
            `${branch} of ${project} is protected. Use create_branch, then create_merge_request.`,
          );
        }
        requireBranch(repository, branch)[path] = text;
        return { commit: recordCommit(forge, repository, branch, message) };
      },
    },
    {
      name: "create_merge_request",
      title: "Create a merge request",
      description: "Ask to merge a branch into another one.",
      annotations: ADDS,
      input: z.object({
        project: ProjectPath,
        source_branch: BranchName,
        target_branch: BranchName.default("main"),
        title: z.string().min(3).max(200),
        description: z.string().max(20_000).default(""),
      }),
      output: z.object({ merge_request: MergeRequest }),
      run: ({ project, ...rest }) => {
        const repository = requireRepository(forge, project);
        requireBranch(repository, rest.source_branch);
        requireBranch(repository, rest.target_branch);
        const numbers = forge.mergeRequests
          .filter((each) => each.repository === project)
          .map(({ iid }) => iid);
        const mergeRequest = {
          ...rest,
          repository: project,
          iid: Math.max(0, ...numbers) + 1,
          author: INTEGRATION_ACCOUNT,
          state: "open",
          approvals: [],
          notes: [],
          changes: {},
          created: new Date().toISOString(),
        };
        forge.mergeRequests.push(mergeRequest);
        return { merge_request: toMergeRequest(forge, mergeRequest) };
      },
    },
    {
      name: "comment_on_merge_request",
      title: "Comment on a merge request",
      description: "Add a note to a merge request.",
      annotations: ADDS,
      input: z.object({ project: ProjectPath, iid: Iid, body: z.string().min(1).max(20_000) }),
      output: z.object({ note: Note }),
      run: ({ project, iid, body }) => {
        const note = { author: INTEGRATION_ACCOUNT, body, at: new Date().toISOString() };
        requireMergeRequest(forge, project, iid).notes.push(note);
        return { note };
      },
    },
    {
      name: "approve_merge_request",
      title: "Approve a merge request",
      description: "Approve an open merge request. Approving twice changes nothing.",
      annotations: SETS,
      input: z.object({ project: ProjectPath, iid: Iid }),
      output: z.object({ merge_request: MergeRequest }),
      run: ({ project, iid }) => {
        const mergeRequest = requireOpen(requireMergeRequest(forge, project, iid));
        if (!mergeRequest.approvals.includes(INTEGRATION_ACCOUNT)) {
          mergeRequest.approvals.push(INTEGRATION_ACCOUNT);
        }
        return { merge_request: toMergeRequest(forge, mergeRequest) };
      },
    },
    {
      name: "merge_merge_request",
      title: "Merge a merge request",
      description: "Merge an approved merge request into its target branch. This cannot be undone.",
      annotations: { ...DESTROYS, idempotentHint: false },
      input: z.object({ project: ProjectPath, iid: Iid }),
      output: z.object({ merge_request: MergeRequest, commit: Commit }),
      run: ({ project, iid }) => {
        const mergeRequest = requireOpen(requireMergeRequest(forge, project, iid));
        if (mergeRequest.approvals.length === 0) {
          throw new Error(
            `!${iid} of ${project} has no approval yet. Use approve_merge_request, or ask somebody.`,
          );
        }
        const repository = requireRepository(forge, project);
        const merged = toMergeRequest(forge, mergeRequest);
        Object.assign(requireBranch(repository, mergeRequest.target_branch), changesOf(forge, mergeRequest));
        mergeRequest.state = "merged";
        const commit = recordCommit(forge, repository, mergeRequest.target_branch, `Merge: ${merged.title}`);
        return { merge_request: { ...merged, state: "merged" }, commit };
      },
    },
    {
      name: "retry_pipeline",
      title: "Retry a pipeline",
      description: "Start a failed pipeline again.",
      annotations: ADDS,
      input: z.object({ project: ProjectPath, id: z.number().int().describe("Pipeline id") }),
      output: z.object({ pipeline: Pipeline }),
      run: ({ project, id }) => {
        requireRepository(forge, project);
        const pipeline = forge.pipelines.find((each) => each.repository === project && each.id === id);
        if (!pipeline)
          throw new Error(`${project} has no pipeline ${id}. Use list_pipelines to find its id.`);
        if (pipeline.status !== "failed") {
          throw new Error(`Pipeline ${id} is ${pipeline.status}; only a failed one can be retried.`);
        }
        return {
          pipeline: Object.assign(pipeline, { status: "running", failed_job: null, duration_seconds: 0 }),
        };
      },
    },
  ];
}
