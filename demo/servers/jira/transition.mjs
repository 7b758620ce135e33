import { z } from "zod";
import { ADDS } from "../tool.mjs";
import { Issue, IssueKey, RESOLUTIONS, Status } from "./schema.mjs";
import { requireIssue, touch } from "./tracker.mjs";

/**
 * Moving an issue. Finishing one needs a resolution; when the caller gave none, the person is asked through
 * elicitation, if their client can do that.
 *
 * @param {object} tracker
 * @param {import("@modelcontextprotocol/sdk/server/mcp.js").McpServer} server the session's own server
 * @returns {import("../tool.mjs").Tool}
 */
export function transitionTool(tracker, server) {
  return {
    name: "transition_issue",
    title: "Move an issue",
    description:
      "Move an issue to another status. Moving to Done needs a resolution: give it, or the user is asked.",
    annotations: ADDS,
    input: z.object({
      key: IssueKey,
      to: Status,
      resolution: z.enum(RESOLUTIONS).optional().describe("Only for status Done"),
    }),
    output: z.object({ issue: Issue }),
    run: async ({ key, to, resolution }, extra) => {
      const issue = requireIssue(tracker, key);
      if (issue.status === to) throw new Error(`${key} is already in status ${to}.`);
      const chosen = to === "Done" ? (resolution ?? (await askResolution(server, key, extra))) : null;
      issue.status = to;
      issue.resolution = chosen;
      return { issue: touch(issue) };
    },
  };
}

const ANSWER_TIMEOUT_MS = 5 * 60 * 1000;

async function askResolution(server, key, extra) {
  if (!server.server.getClientCapabilities()?.elicitation) {
    throw new Error(
      `Moving ${key} to Done needs a resolution, and this client cannot ask its user. ` +
        `Call again with resolution set to one of: ${RESOLUTIONS.join(", ")}.`,
    );
  }
  const answer = await server.server.elicitInput(
    {
      message: `How was ${key} resolved?`,
      requestedSchema: {
        type: "object",
        properties: {
          resolution: { type: "string", title: "Resolution", enum: RESOLUTIONS, default: "Fixed" },
        },
        required: ["resolution"],
      },
    },
    { relatedRequestId: extra.requestId, signal: extra.signal, timeout: ANSWER_TIMEOUT_MS },
  );
  if (answer.action !== "accept") throw new Error(`${key} was not moved: the user gave no resolution.`);
  return answer.content.resolution;
}
