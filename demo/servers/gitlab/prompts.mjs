import { completable, ResourceNotFoundError, ResourceTemplate } from "@modelcontextprotocol/server";
import { z } from "zod";
import { requireMergeRequest } from "./forge.mjs";

/** The prompt of the code forge, and the files of its default branches as resources. */
export function registerPromptsAndResources(server, forge) {
  const pathsLike = (value) =>
    forge.repositories.map(({ path }) => path).filter((path) => path.startsWith(value));
  const iidsLike = (value, context) =>
    forge.mergeRequests
      .filter(({ repository }) => repository === (context?.arguments?.project ?? repository))
      .map(({ iid }) => String(iid))
      .filter((iid) => iid.startsWith(value));

  server.registerPrompt(
    "review_merge_request",
    {
      title: "Review a merge request",
      description: "Review one merge request by the house's review guide.",
      argsSchema: z.object({
        project: completable(z.string().describe("Project path"), pathsLike),
        iid: completable(z.string().regex(/^\d+$/).describe("Merge request number"), iidsLike),
      }),
    },
    ({ project, iid }) => {
      const mergeRequest = requireMergeRequest(forge, project, Number(iid));
      const text =
        `Review merge request !${iid} of ${project}, "${mergeRequest.title}". Read its diff with ` +
        "get_merge_request_diff, check the pipeline with list_pipelines, and follow " +
        "wiki://acme/eng/review-guide. List findings by how much they matter.";
      return { messages: [{ role: "user", content: { type: "text", text } }] };
    },
  );

  server.registerResource(
    "file",
    new ResourceTemplate("gitlab://acme/{group}/{name}/-/blob/{+path}", {
      list: () => ({ resources: forge.repositories.flatMap(listFiles) }),
    }),
    { title: "Repository file", description: "A file of a default branch", mimeType: "text/plain" },
    (uri, { group, name, path }) => {
      const repository = forge.repositories.find((candidate) => candidate.path === `${group}/${name}`);
      const text = repository?.branches[repository.defaultBranch][path];
      if (text === undefined) throw new ResourceNotFoundError(uri.href);
      return { contents: [{ uri: uri.href, mimeType: "text/plain", text }] };
    },
  );
}

function listFiles({ path, branches, defaultBranch }) {
  return Object.keys(branches[defaultBranch]).map((file) => ({
    uri: `gitlab://acme/${path}/-/blob/${file}`,
    name: file,
    title: `${path}: ${file}`,
    mimeType: "text/plain",
  }));
}
