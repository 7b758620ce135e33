import { z } from "zod";
import { INTEGRATION_ACCOUNT } from "../../data/employees.mjs";
import { ADDS, DESTROYS, SETS } from "../tool.mjs";
import { Comment, Email, Issue, IssueKey, IssueType, LinkType, Priority, ProjectKey } from "./schema.mjs";
import { nextKey, requireEmployee, requireIssue, requireProject, touch } from "./tracker.mjs";

/**
 * The tools of the issue tracker that change it, except moving an issue (see transition.mjs).
 *
 * @param {object} tracker
 * @returns {import("../tool.mjs").Tool[]}
 */
export function writingTools(tracker) {
  return [
    {
      name: "create_issue",
      title: "Create an issue",
      description: "Create an issue in a project. It starts in status To Do.",
      annotations: ADDS,
      input: z.object({
        project: ProjectKey,
        summary: z.string().min(3).max(200),
        description: z.string().max(20_000).default(""),
        type: IssueType.default("task"),
        priority: Priority.default("medium"),
        assignee: Email.optional(),
        labels: z.array(z.string().max(40)).max(10).default([]),
      }),
      output: z.object({ issue: Issue }),
      run: ({ project, assignee, ...rest }) => {
        requireProject(tracker, project);
        if (assignee) requireEmployee(assignee);
        const now = new Date().toISOString();
        const issue = {
          ...rest,
          key: nextKey(tracker, project),
          status: "To Do",
          resolution: null,
          assignee: assignee ?? null,
          reporter: INTEGRATION_ACCOUNT,
          sprint: null,
          links: [],
          created: now,
          updated: now,
        };
        tracker.issues.push(issue);
        return { issue };
      },
    },
    {
      name: "update_issue",
      title: "Update an issue",
      description: "Overwrite fields of an issue. Fields that are left out stay as they are.",
      annotations: DESTROYS,
      input: z.object({
        key: IssueKey,
        summary: z.string().min(3).max(200).optional(),
        description: z.string().max(20_000).optional(),
        priority: Priority.optional(),
        labels: z.array(z.string().max(40)).max(10).optional(),
      }),
      output: z.object({ issue: Issue }),
      run: ({ key, ...changes }) => {
        const issue = requireIssue(tracker, key);
        const given = Object.entries(changes).filter(([, value]) => value !== undefined);
        if (given.length === 0) throw new Error("Nothing to update: give at least one field besides key.");
        return { issue: touch(Object.assign(issue, Object.fromEntries(given))) };
      },
    },
    {
      name: "add_comment",
      title: "Add a comment",
      description: "Add a comment to an issue.",
      annotations: ADDS,
      input: z.object({ key: IssueKey, body: z.string().min(1).max(20_000) }),
      output: z.object({ comment: Comment }),
      run: ({ key, body }) => {
        touch(requireIssue(tracker, key));
        const comment = {
          id: Math.max(0, ...tracker.comments.map(({ id }) => id)) + 1,
          issue: key,
          author: INTEGRATION_ACCOUNT,
          body,
          created: new Date().toISOString(),
        };
        tracker.comments.push(comment);
        return { comment };
      },
    },
    {
      name: "assign_issue",
      title: "Assign an issue",
      description: "Assign an issue to an employee, or to nobody with null.",
      annotations: SETS,
      input: z.object({ key: IssueKey, assignee: Email.nullable() }),
      run: ({ key, assignee }) => {
        const issue = requireIssue(tracker, key);
        issue.assignee = assignee === null ? null : requireEmployee(assignee);
        touch(issue);
        return `${key} is now assigned to ${assignee ?? "nobody"}.`;
      },
    },
    {
      name: "link_issues",
      title: "Link an issue",
      description: "Link an issue to another issue, a merge request, a document or a page.",
      annotations: SETS,
      input: z.object({
        key: IssueKey,
        type: LinkType,
        target: z
          .string()
          .regex(/^(jira|gitlab|drive|wiki):\/\//)
          .describe("URI such as jira://issues/PAY-104"),
      }),
      output: z.object({ issue: Issue }),
      run: ({ key, type, target }) => {
        const issue = requireIssue(tracker, key);
        const known = issue.links.some((link) => link.type === type && link.target === target);
        if (!known) touch(issue).links.push({ type, target });
        return { issue };
      },
    },
    {
      name: "delete_issue",
      title: "Delete an issue",
      description: "Delete an issue and its comments for good.",
      annotations: DESTROYS,
      input: z.object({ key: IssueKey }),
      run: ({ key }) => {
        const issue = requireIssue(tracker, key);
        tracker.issues.splice(tracker.issues.indexOf(issue), 1);
        const before = tracker.comments.length;
        tracker.comments = tracker.comments.filter((comment) => comment.issue !== key);
        return `${key} and ${before - tracker.comments.length} comments are deleted.`;
      },
    },
  ];
}
