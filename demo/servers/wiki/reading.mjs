import { z } from "zod";
import { diffLines } from "../lines.mjs";
import { matchesWords, READS, takePage } from "../tool.mjs";
import {
  latestOf,
  Page,
  PageLine,
  requirePage,
  requireRevision,
  requireSpace,
  Slug,
  SpaceKey,
  toLine,
  toPage,
  uriOf,
} from "./pages.mjs";

const Revision = z.object({
  number: z.number().int(),
  author: z.string(),
  at: z.string(),
  characters: z.number().int(),
});

/**
 * The tools of the wiki that only look.
 *
 * @param {object} wiki
 * @returns {import("../tool.mjs").Tool[]}
 */
export function readingTools(wiki) {
  return [
    {
      name: "search_pages",
      title: "Search pages",
      description:
        "Search pages by words in title, text and labels. Drafts are found too and marked as such.",
      annotations: READS,
      input: z.object({
        query: z.string().min(1).describe("Words that must all occur"),
        space: SpaceKey.optional(),
        limit: z.number().int().min(1).max(50).default(10),
        offset: z.number().int().min(0).default(0),
      }),
      output: z.object({
        pages: z.array(PageLine),
        total: z.number().int(),
        next_offset: z.number().int().nullable(),
      }),
      run: ({ query, space, ...window }) => {
        const found = wiki.pages.filter(
          (page) =>
            (!space || page.space === space) &&
            matchesWords(query, page.title, latestOf(page).body, ...page.labels),
        );
        const { items, total, next_offset } = takePage(found.map(toLine), window);
        return { pages: items, total, next_offset };
      },
    },
    {
      name: "get_page",
      title: "Get a page",
      description: "Read one page as Markdown, its last revision.",
      annotations: READS,
      input: z.object({ space: SpaceKey, slug: Slug }),
      output: z.object({ page: Page }),
      run: ({ space, slug }) => ({ page: toPage(requirePage(wiki, space, slug)) }),
    },
    {
      name: "list_spaces",
      title: "List spaces",
      description: "List the spaces of the wiki with their owner and number of pages.",
      annotations: READS,
      input: z.object({}),
      output: z.object({
        spaces: z.array(
          z.object({ key: z.string(), name: z.string(), owner: z.string(), pages: z.number().int() }),
        ),
      }),
      run: () => ({
        spaces: wiki.spaces.map((space) => ({
          ...space,
          pages: wiki.pages.filter((page) => page.space === space.key).length,
        })),
      }),
    },
    {
      name: "list_pages",
      title: "List pages",
      description: "List the pages of one space, by title.",
      annotations: READS,
      input: z.object({ space: SpaceKey, status: z.enum(["draft", "published"]).optional() }),
      output: z.object({ pages: z.array(PageLine) }),
      run: ({ space, status }) => {
        requireSpace(wiki, space);
        return {
          pages: wiki.pages
            .filter((page) => page.space === space && (!status || page.status === status))
            .map(toLine)
            .sort((one, other) => one.title.localeCompare(other.title)),
        };
      },
    },
    {
      name: "list_revisions",
      title: "List revisions",
      description: "List who changed a page and when, oldest first.",
      annotations: READS,
      input: z.object({ space: SpaceKey, slug: Slug }),
      output: z.object({ revisions: z.array(Revision) }),
      run: ({ space, slug }) => ({
        revisions: requirePage(wiki, space, slug).revisions.map((revision) => ({
          ...revision,
          characters: revision.body.length,
        })),
      }),
    },
    {
      name: "list_backlinks",
      title: "List backlinks",
      description: "List the pages that link to a page.",
      annotations: READS,
      input: z.object({ space: SpaceKey, slug: Slug }),
      output: z.object({ pages: z.array(PageLine) }),
      run: ({ space, slug }) => {
        const target = uriOf(requirePage(wiki, space, slug));
        return { pages: wiki.pages.filter((page) => latestOf(page).body.includes(target)).map(toLine) };
      },
    },
    {
      name: "compare_revisions",
      title: "Compare revisions",
      description: "Show the lines two revisions of a page differ in.",
      annotations: READS,
      input: z.object({
        space: SpaceKey,
        slug: Slug,
        from: z.number().int().min(1),
        to: z.number().int().min(1),
      }),
      run: ({ space, slug, from, to }) => {
        const page = requirePage(wiki, space, slug);
        return diffLines(requireRevision(page, from).body, requireRevision(page, to).body);
      },
    },
  ];
}
