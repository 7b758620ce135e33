import { z } from "zod";
import { EMPLOYEES } from "../../data/employees.mjs";
import { matchesWords, READS, takePage } from "../tool.mjs";
import {
  Comment,
  Email,
  Issue,
  IssueKey,
  IssueLine,
  Priority,
  ProjectKey,
  STATUSES,
  Status,
} from "./schema.mjs";
import { requireIssue, requireProject } from "./tracker.mjs";

/**
 * The tools of the issue tracker that only look.
 *
 * @param {object} tracker
 * @returns {import("../tool.mjs").Tool[]}
 */
export function readingTools(tracker) {
  return [
    {
      name: "search_issues",
      title: "Search issues",
      description:
        "Search issues by words and filters. All given filters must hold. Returns one line per issue; use " +
        "get_issue for the whole text.",
      annotations: READS,
      input: z.object({
        query: z
          .string()
          .optional()
          .describe("Words that must all occur in key, summary, description or labels"),
        project: ProjectKey.optional(),
        status: Status.optional(),
        priority: Priority.optional(),
        assignee: Email.optional(),
        label: z.string().optional().describe("Exact label"),
        limit: z.number().int().min(1).max(50).default(20),
        offset: z.number().int().min(0).default(0),
      }),
      output: z.object({
        issues: z.array(IssueLine),
        total: z.number().int(),
        next_offset: z.number().int().nullable(),
      }),
      run: (filters) => {
        const page = takePage(
          tracker.issues.filter((issue) => fits(issue, filters)),
          filters,
        );
        return { issues: page.items, total: page.total, next_offset: page.next_offset };
      },
    },
    {
      name: "get_issue",
      title: "Get an issue",
      description: "Read one issue with its description, links and dates.",
      annotations: READS,
      input: z.object({ key: IssueKey }),
      output: z.object({ issue: Issue }),
      run: ({ key }) => ({ issue: requireIssue(tracker, key) }),
    },
    {
      name: "list_projects",
      title: "List projects",
      description: "List the projects of the issue tracker with the number of open issues.",
      annotations: READS,
      input: z.object({}),
      output: z.object({
        projects: z.array(
          z.object({ key: z.string(), name: z.string(), lead: z.string(), open_issues: z.number().int() }),
        ),
      }),
      run: () => ({
        projects: tracker.projects.map((project) => ({
          ...project,
          open_issues: tracker.issues.filter(
            (issue) => issue.key.startsWith(`${project.key}-`) && issue.status !== "Done",
          ).length,
        })),
      }),
    },
    {
      name: "list_comments",
      title: "List comments",
      description: "Read the comments of an issue, oldest first.",
      annotations: READS,
      input: z.object({ key: IssueKey }),
      output: z.object({ comments: z.array(Comment) }),
      run: ({ key }) => {
        requireIssue(tracker, key);
        return { comments: tracker.comments.filter((comment) => comment.issue === key) };
      },
    },
    {
      name: "list_transitions",
      title: "List transitions",
      description: "List the statuses an issue can move to from where it is now.",
      annotations: READS,
      input: z.object({ key: IssueKey }),
      output: z.object({ from: Status, to: z.array(Status) }),
      run: ({ key }) => {
        const { status } = requireIssue(tracker, key);
        return { from: status, to: STATUSES.filter((other) => other !== status) };
      },
    },
    {
      name: "find_users",
      title: "Find users",
      description: "Find people an issue can be assigned to, by a part of their name or address.",
      annotations: READS,
      input: z.object({ query: z.string().default("").describe("Part of a name or e-mail address") }),
      output: z.object({
        users: z.array(z.object({ email: z.string(), name: z.string(), title: z.string() })),
      }),
      run: ({ query }) => ({
        users: EMPLOYEES.filter(({ email, name }) => matchesWords(query, email, name)),
      }),
    },
    {
      name: "list_sprints",
      title: "List sprints",
      description: "List the sprints of a project with their state and dates.",
      annotations: READS,
      input: z.object({ project: ProjectKey }),
      output: z.object({
        sprints: z.array(
          z.object({
            id: z.number().int(),
            name: z.string(),
            state: z.enum(["active", "closed", "future"]),
            starts: z.string(),
            ends: z.string(),
          }),
        ),
      }),
      run: ({ project }) => {
        requireProject(tracker, project);
        return { sprints: tracker.sprints.filter((sprint) => sprint.project === project) };
      },
    },
  ];
}

function fits(issue, { query, project, status, priority, assignee, label }) {
  return (
    (!query || matchesWords(query, issue.key, issue.summary, issue.description, ...issue.labels)) &&
    (!project || issue.key.startsWith(`${project}-`)) &&
    (!status || issue.status === status) &&
    (!priority || issue.priority === priority) &&
    (!assignee || issue.assignee === assignee) &&
    (!label || issue.labels.includes(label))
  );
}
