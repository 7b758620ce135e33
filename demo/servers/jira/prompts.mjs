import { completable } from "@modelcontextprotocol/sdk/server/completable.js";
import { ResourceTemplate } from "@modelcontextprotocol/sdk/server/mcp.js";
import { z } from "zod";
import { requireIssue } from "./tracker.mjs";

/** Prompts of the issue tracker, and its issues as resources. */
export function registerPromptsAndResources(server, tracker) {
  const startingWith = (value) => tracker.issues.map(({ key }) => key).filter((key) => key.startsWith(value));

  server.registerPrompt(
    "triage_issue",
    {
      title: "Triage an issue",
      description: "Decide priority, owner and next step of one issue.",
      argsSchema: { key: completable(z.string().describe("Issue key"), startingWith) },
    },
    ({ key }) => {
      const issue = requireIssue(tracker, key);
      return userMessage(
        `Triage ${issue.key} (${issue.type}): ${issue.summary}\n\n${issue.description}\n\n` +
          "Say which priority it deserves, who should own it and what the next step is.",
      );
    },
  );
  server.registerPrompt(
    "standup_summary",
    {
      title: "Summarise for the stand-up",
      description: "Summarise what one person works on.",
      argsSchema: { assignee: z.string().describe("E-mail address") },
    },
    ({ assignee }) => {
      const lines = tracker.issues
        .filter((issue) => issue.assignee === assignee && issue.status !== "Done")
        .map((issue) => `- ${issue.key} (${issue.status}): ${issue.summary}`);
      return userMessage(`Summarise for the stand-up, in three sentences:\n${lines.join("\n")}`);
    },
  );

  server.registerResource(
    "issue",
    new ResourceTemplate("jira://issues/{key}", {
      list: () => ({
        resources: tracker.issues.map(({ key, summary }) => ({
          uri: `jira://issues/${key}`,
          name: key,
          title: summary,
          mimeType: "application/json",
        })),
      }),
      complete: { key: startingWith },
    }),
    { title: "Issue", description: "One issue as JSON", mimeType: "application/json" },
    (uri, { key }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: "application/json",
          text: JSON.stringify(requireIssue(tracker, key)),
        },
      ],
    }),
  );
}

function userMessage(text) {
  return { messages: [{ role: "user", content: { type: "text", text } }] };
}
