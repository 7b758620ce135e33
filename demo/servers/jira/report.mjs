import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { READS } from "../tool.mjs";
import { Status } from "./schema.mjs";

/**
 * The long-running tool: it walks over a sprint's issues and reports progress after each one.
 *
 * @param {object} tracker
 * @returns {import("../tool.mjs").Tool}
 */
export function sprintReportTool(tracker) {
  return {
    name: "build_sprint_report",
    title: "Build a sprint report",
    description:
      "Build a report of one sprint: issues per status and per person. Takes a while and reports progress.",
    annotations: READS,
    input: z.object({
      sprint: z.number().int().describe("Sprint id from list_sprints"),
      pace_ms: z.number().int().min(0).max(2000).default(120).describe("Pause per issue, in milliseconds"),
    }),
    output: z.object({
      sprint: z.string(),
      issues: z.number().int(),
      by_status: z.array(z.object({ status: Status, count: z.number().int() })),
      by_assignee: z.array(z.object({ assignee: z.string().nullable(), open: z.number().int() })),
    }),
    run: async ({ sprint: id, pace_ms }, extra) => {
      const sprint = tracker.sprints.find((candidate) => candidate.id === id);
      if (!sprint) throw new Error(`There is no sprint ${id}. Use list_sprints to find the right id.`);
      const issues = tracker.issues.filter((issue) => issue.sprint === id);
      const byStatus = new Map();
      const openByAssignee = new Map();
      for (const [index, issue] of issues.entries()) {
        // A caller that gives up ends the pause and with it the whole report.
        await pause(pace_ms, undefined, { signal: extra.signal });
        add(byStatus, issue.status);
        if (issue.status !== "Done") add(openByAssignee, issue.assignee);
        await reportProgress(extra, index + 1, issues.length, `Read ${issue.key}`);
      }
      return {
        sprint: sprint.name,
        issues: issues.length,
        by_status: [...byStatus].map(([status, count]) => ({ status, count })),
        by_assignee: [...openByAssignee].map(([assignee, open]) => ({ assignee, open })),
      };
    },
  };
}

function add(counts, key) {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

async function reportProgress(extra, progress, total, message) {
  const progressToken = extra._meta?.progressToken;
  if (progressToken === undefined) return;
  await extra.sendNotification({
    method: "notifications/progress",
    params: { progressToken, progress, total, message },
  });
}
