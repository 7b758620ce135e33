import { z } from "zod";

export const ProjectPath = z
  .string()
  .regex(/^[a-z0-9-]+\/[a-z0-9-]+$/)
  .describe("Project path, for example payments/ledger");
export const Iid = z.number().int().min(1).describe("Number of the merge request within its project");
export const BranchName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,79}$/)
  .describe("Branch name");
export const FilePath = z
  .string()
  .regex(/^(?!\/)(?!.*\.\.)[\w./-]+$/)
  .max(200)
  .describe("Path of a file in the repository, for example src/book.mjs");

export const Project = z.object({
  path: z.string(),
  description: z.string(),
  default_branch: z.string(),
  open_merge_requests: z.number().int(),
});
export const MergeRequestState = z.enum(["open", "merged", "closed"]);
export const MergeRequestLine = z.object({
  project: z.string(),
  iid: z.number().int(),
  title: z.string(),
  author: z.string(),
  state: MergeRequestState,
  source_branch: z.string(),
  target_branch: z.string(),
  created: z.string(),
});
export const Note = z.object({ author: z.string(), body: z.string(), at: z.string() });
export const MergeRequest = MergeRequestLine.extend({
  description: z.string(),
  approvals: z.array(z.string()),
  notes: z.array(Note),
  changed_files: z.array(z.string()),
});
export const Commit = z.object({
  sha: z.string(),
  branch: z.string(),
  author: z.string(),
  message: z.string(),
  at: z.string(),
});
export const PipelineStatus = z.enum(["running", "success", "failed"]);
export const Pipeline = z.object({
  id: z.number().int(),
  ref: z.string(),
  sha: z.string(),
  status: PipelineStatus,
  failed_job: z.string().nullable(),
  duration_seconds: z.number().int(),
});
