import { completable, ResourceNotFoundError, ResourceTemplate } from "@modelcontextprotocol/server";
import { z } from "zod";
import { bytesOf, presentFiles, requireFile, uriOf } from "./files.mjs";

/** The prompt of the shared drive, and its files as resources. */
export function registerPromptsAndResources(server, drive) {
  const idsLike = (value) =>
    presentFiles(drive)
      .map(({ id }) => id)
      .filter((id) => id.startsWith(value));

  server.registerPrompt(
    "compare_files",
    {
      title: "Compare two files",
      description: "Say what changed between two files and why it matters.",
      argsSchema: z.object({
        first: completable(z.string().describe("File id"), idsLike),
        second: completable(z.string().describe("File id"), idsLike),
      }),
    },
    ({ first, second }) => ({
      messages: [
        ...[first, second].map((id) => ({
          role: "user",
          content: { type: "resource", resource: toContents(requireFile(drive, id)) },
        })),
        { role: "user", content: { type: "text", text: "Say what differs, and which difference matters." } },
      ],
    }),
  );

  server.registerResource(
    "file",
    new ResourceTemplate("drive://acme/files/{id}", {
      list: () => ({
        resources: presentFiles(drive).map((file) => ({
          uri: uriOf(file),
          name: file.name,
          description: `In ${file.folder}`,
          mimeType: file.mimeType,
          size: bytesOf(file).length,
        })),
      }),
      complete: { id: idsLike },
    }),
    { title: "File", description: "The content of one file" },
    (uri, { id }) => {
      const file = presentFiles(drive).find((candidate) => candidate.id === id);
      if (!file) throw new ResourceNotFoundError(uri.href);
      return { contents: [toContents(file)] };
    },
  );
}

function toContents(file) {
  const about = { uri: uriOf(file), mimeType: file.mimeType };
  return file.base64 === undefined ? { ...about, text: file.text } : { ...about, blob: file.base64 };
}
