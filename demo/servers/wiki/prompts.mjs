import { completable, ResourceNotFoundError, ResourceTemplate } from "@modelcontextprotocol/server";
import { z } from "zod";
import { latestOf, requirePage, uriOf } from "./pages.mjs";

const INDEX_URI = "wiki://acme/index";

/** Prompts of the wiki, and its pages as resources. */
export function registerPromptsAndResources(server, wiki) {
  const spacesLike = (value) => wiki.spaces.map(({ key }) => key).filter((key) => key.startsWith(value));
  const slugsLike = (value, context) =>
    wiki.pages
      .filter(({ space, slug }) => slug.startsWith(value) && space === (context?.arguments?.space ?? space))
      .map(({ slug }) => slug);

  server.registerPrompt(
    "summarize_page",
    {
      title: "Summarise a page",
      description: "Summarise one wiki page for people who have one minute.",
      argsSchema: z.object({
        space: completable(z.string().describe("Space key"), spacesLike),
        slug: completable(z.string().describe("Page slug"), slugsLike),
      }),
    },
    ({ space, slug }) => {
      const page = requirePage(wiki, space, slug);
      return {
        messages: [
          { role: "user", content: { type: "resource", resource: toContents(page) } },
          { role: "user", content: { type: "text", text: `Summarise "${page.title}" in five sentences.` } },
        ],
      };
    },
  );
  server.registerPrompt(
    "draft_page",
    {
      title: "Draft a page",
      description: "Draft a new page in the style of a space.",
      argsSchema: z.object({
        space: completable(z.string().describe("Space key"), spacesLike),
        topic: z.string().describe("What the page is about"),
      }),
    },
    ({ space, topic }) => {
      const titles = wiki.pages.filter((page) => page.space === space).map((page) => `- ${page.title}`);
      const text = `Draft a wiki page about ${topic}. Do not repeat these pages:\n${titles.join("\n")}`;
      return { messages: [{ role: "user", content: { type: "text", text } }] };
    },
  );

  server.registerResource(
    "index",
    INDEX_URI,
    { title: "Index", description: "All pages by space", mimeType: "text/markdown" },
    () => ({ contents: [{ uri: INDEX_URI, mimeType: "text/markdown", text: indexOf(wiki) }] }),
  );
  server.registerResource(
    "page",
    new ResourceTemplate("wiki://acme/{space}/{slug}", {
      list: () => ({
        resources: wiki.pages.map((page) => ({
          uri: uriOf(page),
          name: page.slug,
          title: page.title,
          mimeType: "text/markdown",
        })),
      }),
      complete: { space: spacesLike, slug: slugsLike },
    }),
    { title: "Wiki page", description: "One page as Markdown", mimeType: "text/markdown" },
    (uri, { space, slug }) => {
      const page = wiki.pages.find((candidate) => candidate.space === space && candidate.slug === slug);
      if (!page) throw new ResourceNotFoundError(uri.href);
      return { contents: [toContents(page)] };
    },
  );
}

function toContents(page) {
  return { uri: uriOf(page), mimeType: "text/markdown", text: latestOf(page).body };
}

function indexOf(wiki) {
  return wiki.spaces
    .map(({ key, name }) => {
      const lines = wiki.pages
        .filter((page) => page.space === key)
        .map((page) => `- ${page.title}: ${uriOf(page)}`);
      return [`# ${name}`, ...lines].join("\n");
    })
    .join("\n\n");
}
