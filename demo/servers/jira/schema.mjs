import { z } from "zod";

export const IssueKey = z
  .string()
  .regex(/^[A-Z]{2,5}-\d+$/)
  .describe("Issue key, for example PAY-101");
export const ProjectKey = z
  .string()
  .regex(/^[A-Z]{2,5}$/)
  .describe("Project key, for example PAY");
export const Email = z.email().describe("E-mail address of an employee");

export const STATUSES = ["To Do", "In Progress", "In Review", "Done"];
export const RESOLUTIONS = ["Fixed", "Won't do", "Duplicate", "Cannot reproduce"];
export const Status = z.enum(STATUSES);
export const Priority = z.enum(["low", "medium", "high", "critical"]);
export const IssueType = z.enum(["bug", "story", "task"]);
export const LinkType = z.enum(["relates_to", "blocked_by", "caused_by", "fixed_by", "documented_in"]);

export const Link = z.object({ type: LinkType, target: z.string() });

export const Issue = z.object({
  key: z.string(),
  type: IssueType,
  summary: z.string(),
  description: z.string(),
  status: Status,
  resolution: z.string().nullable(),
  priority: Priority,
  assignee: z.string().nullable(),
  reporter: z.string(),
  labels: z.array(z.string()),
  sprint: z.number().int().nullable(),
  links: z.array(Link),
  created: z.string(),
  updated: z.string(),
});

export const IssueLine = Issue.pick({
  key: true,
  type: true,
  summary: true,
  status: true,
  priority: true,
  assignee: true,
});

export const Comment = z.object({
  id: z.number().int(),
  issue: z.string(),
  author: z.string(),
  body: z.string(),
  created: z.string(),
});
