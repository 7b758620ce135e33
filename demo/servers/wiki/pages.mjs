import { z } from "zod";

export const SpaceKey = z
  .string()
  .regex(/^[a-z]{2,5}$/)
  .describe("Space key, for example eng");
export const Slug = z
  .string()
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/)
  .max(80)
  .describe("Page slug, for example payments-runbook");

export const PageLine = z.object({
  uri: z.string(),
  space: z.string(),
  slug: z.string(),
  title: z.string(),
  status: z.enum(["draft", "published"]),
  labels: z.array(z.string()),
  revision: z.number().int(),
  updated: z.string(),
});
export const Page = PageLine.extend({ author: z.string(), body: z.string() });

export const uriOf = ({ space, slug }) => `wiki://acme/${space}/${slug}`;
export const latestOf = (page) => page.revisions.at(-1);

/** The one-line view of a page. */
export function toLine(page) {
  const { number, at } = latestOf(page);
  return { ...page, uri: uriOf(page), revision: number, updated: at };
}

/** A page with the text of its last revision. */
export function toPage(page) {
  const { author, body } = latestOf(page);
  return { ...toLine(page), author, body };
}

/** Finds a page or says how to find the right one. */
export function requirePage(wiki, space, slug) {
  const page = wiki.pages.find((candidate) => candidate.space === space && candidate.slug === slug);
  if (!page) throw new Error(`There is no page ${space}/${slug}. Use search_pages or list_pages to find it.`);
  return page;
}

export function requireSpace(wiki, key) {
  const space = wiki.spaces.find((candidate) => candidate.key === key);
  if (space) return space;
  throw new Error(`There is no space ${key}. Spaces are ${wiki.spaces.map((each) => each.key).join(", ")}.`);
}

export function requireRevision(page, number) {
  const revision = page.revisions.find((candidate) => candidate.number === number);
  if (revision) return revision;
  throw new Error(`${page.space}/${page.slug} has revisions 1 to ${page.revisions.length}, not ${number}.`);
}
