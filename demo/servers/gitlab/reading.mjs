import { z } from "zod";
import { diffLines } from "../lines.mjs";
import { matchesWords, READS, takePage } from "../tool.mjs";
import {
  changesOf,
  requireBranch,
  requireMergeRequest,
  requireRepository,
  toMergeRequest,
  toMergeRequestLine,
  toProject,
} from "./forge.mjs";
import {
  BranchName,
  Commit,
  FilePath,
  Iid,
  MergeRequest,
  MergeRequestLine,
  MergeRequestState,
  Pipeline,
  PipelineStatus,
  Project,
  ProjectPath,
} from "./schema.mjs";

/**
 * The tools of the code forge that only look.
 *
 * @param {object} forge
 * @returns {import("../tool.mjs").Tool[]}
 */
export function readingTools(forge) {
  return [
    {
      name: "list_projects",
      title: "List projects",
      description: "List the code projects with their default branch and number of open merge requests.",
      annotations: READS,
      input: z.object({}),
      output: z.object({ projects: z.array(Project) }),
      run: () => ({ projects: forge.repositories.map((repository) => toProject(forge, repository)) }),
    },
    {
      name: "get_project",
      title: "Get a project",
      description: "Read one project with its branches and maintainers.",
      annotations: READS,
      input: z.object({ project: ProjectPath }),
      output: z.object({
        project: Project.extend({ branches: z.array(z.string()), maintainers: z.array(z.string()) }),
      }),
      run: ({ project }) => {
        const repository = requireRepository(forge, project);
        return {
          project: { ...toProject(forge, repository), branches: Object.keys(repository.branches) },
        };
      },
    },
    {
      name: "list_merge_requests",
      title: "List merge requests",
      description: "List merge requests of one project or of all, newest first.",
      annotations: READS,
      input: z.object({
        project: ProjectPath.optional(),
        state: MergeRequestState.optional(),
        author: z.email().optional(),
      }),
      output: z.object({ merge_requests: z.array(MergeRequestLine) }),
      run: ({ project, state, author }) => {
        if (project) requireRepository(forge, project);
        const found = forge.mergeRequests.filter(
          (each) =>
            (!project || each.repository === project) &&
            (!state || each.state === state) &&
            (!author || each.author === author),
        );
        return {
          merge_requests: found
            .map(toMergeRequestLine)
            .sort((one, other) => other.created.localeCompare(one.created)),
        };
      },
    },
    {
      name: "get_merge_request",
      title: "Get a merge request",
      description: "Read one merge request with its description, approvals, notes and changed files.",
      annotations: READS,
      input: z.object({ project: ProjectPath, iid: Iid }),
      output: z.object({ merge_request: MergeRequest }),
      run: ({ project, iid }) => ({
        merge_request: toMergeRequest(forge, requireMergeRequest(forge, project, iid)),
      }),
    },
    {
      name: "get_merge_request_diff",
      title: "Get the diff of a merge request",
      description: "Read what a merge request changes, file by file.",
      annotations: READS,
      input: z.object({ project: ProjectPath, iid: Iid }),
      run: ({ project, iid }) => {
        const mergeRequest = requireMergeRequest(forge, project, iid);
        const target = requireBranch(requireRepository(forge, project), mergeRequest.target_branch);
        const parts = Object.entries(changesOf(forge, mergeRequest)).map(
          ([path, text]) => `--- ${path}\n+++ ${path}\n${diffLines(target[path] ?? "", text)}`,
        );
        return parts.join("\n") || "No differences to the target branch.";
      },
    },
    {
      name: "list_commits",
      title: "List commits",
      description: "List the commits of a project, newest first.",
      annotations: READS,
      input: z.object({
        project: ProjectPath,
        branch: BranchName.optional(),
        limit: z.number().int().min(1).max(50).default(20),
        offset: z.number().int().min(0).default(0),
      }),
      output: z.object({ commits: z.array(Commit), next_offset: z.number().int().nullable() }),
      run: ({ project, branch, ...window }) => {
        requireRepository(forge, project);
        const found = forge.commits
          .filter((commit) => commit.repository === project && (!branch || commit.branch === branch))
          .sort((one, other) => other.at.localeCompare(one.at));
        const { items, next_offset } = takePage(found, window);
        return { commits: items, next_offset };
      },
    },
    {
      name: "get_file",
      title: "Get a file",
      description: "Read one file of a project at a branch.",
      annotations: READS,
      input: z.object({ project: ProjectPath, path: FilePath, branch: BranchName.default("main") }),
      run: ({ project, path, branch }) => {
        const files = requireBranch(requireRepository(forge, project), branch);
        if (Object.hasOwn(files, path)) return files[path];
        throw new Error(
          `${project} has no ${path} at ${branch}. Files are ${Object.keys(files).join(", ")}.`,
        );
      },
    },
    {
      name: "search_code",
      title: "Search code",
      description: "Search the default branches for lines that contain all given words.",
      annotations: READS,
      input: z.object({
        query: z.string().min(2),
        project: ProjectPath.optional(),
        limit: z.number().int().min(1).max(100).default(20),
      }),
      output: z.object({
        matches: z.array(
          z.object({ project: z.string(), path: z.string(), line: z.number().int(), text: z.string() }),
        ),
      }),
      run: ({ query, project, limit }) => {
        if (project) requireRepository(forge, project);
        return { matches: [...findLines(forge, query, project)].slice(0, limit) };
      },
    },
    {
      name: "list_pipelines",
      title: "List pipelines",
      description: "List the pipelines of a project with their status, newest first.",
      annotations: READS,
      input: z.object({ project: ProjectPath, status: PipelineStatus.optional() }),
      output: z.object({ pipelines: z.array(Pipeline) }),
      run: ({ project, status }) => {
        requireRepository(forge, project);
        return {
          pipelines: forge.pipelines
            .filter((each) => each.repository === project && (!status || each.status === status))
            .sort((one, other) => other.id - one.id),
        };
      },
    },
  ];
}

function* findLines(forge, query, project) {
  for (const repository of forge.repositories) {
    if (project && repository.path !== project) continue;
    for (const [path, text] of Object.entries(repository.branches[repository.defaultBranch])) {
      for (const [index, line] of text.split("\n").entries()) {
        if (matchesWords(query, line)) {
          yield { project: repository.path, path, line: index + 1, text: line.trim() };
        }
      }
    }
  }
}
