import { z } from "zod";
import { INTEGRATION_ACCOUNT } from "../../data/employees.mjs";
import { ADDS, DESTROYS } from "../tool.mjs";
import { Page, requirePage, requireSpace, Slug, SpaceKey, toPage, uriOf } from "./pages.mjs";

const Body = z.string().min(1).max(100_000).describe("Markdown");

/**
 * The tools of the wiki that change it, except publishing (see publish.mjs).
 *
 * @param {object} wiki
 * @param {() => import("@modelcontextprotocol/server").ServerNotifier} notify
 * @returns {import("../tool.mjs").Tool[]}
 */
export function writingTools(wiki, notify) {
  return [
    {
      name: "create_page",
      title: "Create a page",
      description: "Create a page as a draft. Use publish_page to make it visible to everyone.",
      annotations: ADDS,
      input: z.object({
        space: SpaceKey,
        slug: Slug,
        title: z.string().min(1).max(120),
        body: Body,
        labels: z.array(z.string().max(40)).max(10).default([]),
      }),
      output: z.object({ page: Page }),
      run: ({ space, slug, title, body, labels }) => {
        requireSpace(wiki, space);
        if (wiki.pages.some((page) => page.space === space && page.slug === slug)) {
          throw new Error(`${space}/${slug} exists already. Use update_page to change it.`);
        }
        const page = { space, slug, title, status: "draft", labels, revisions: [revision(1, body)] };
        wiki.pages.push(page);
        notify().resourcesChanged();
        return { page: toPage(page) };
      },
    },
    {
      name: "update_page",
      title: "Update a page",
      description: "Write a new revision of a page. Earlier revisions are kept.",
      annotations: ADDS,
      input: z.object({
        space: SpaceKey,
        slug: Slug,
        body: Body,
        base_revision: z
          .number()
          .int()
          .min(1)
          .describe("The revision your text is based on; refused when somebody wrote a newer one"),
      }),
      output: z.object({ page: Page }),
      run: ({ space, slug, body, base_revision }) => {
        const page = requirePage(wiki, space, slug);
        const current = page.revisions.length;
        if (base_revision !== current) {
          throw new Error(
            `${space}/${slug} is at revision ${current}, your text is based on ${base_revision}. ` +
              "Read it again with get_page and merge your change.",
          );
        }
        page.revisions.push(revision(current + 1, body));
        notify().resourceUpdated(uriOf(page));
        return { page: toPage(page) };
      },
    },
    {
      name: "delete_page",
      title: "Delete a page",
      description: "Delete a page with all its revisions for good.",
      annotations: DESTROYS,
      input: z.object({ space: SpaceKey, slug: Slug }),
      run: ({ space, slug }) => {
        const page = requirePage(wiki, space, slug);
        wiki.pages.splice(wiki.pages.indexOf(page), 1);
        notify().resourcesChanged();
        return `${space}/${slug} and its ${page.revisions.length} revisions are deleted.`;
      },
    },
  ];
}

function revision(number, body) {
  return { number, author: INTEGRATION_ACCOUNT, at: new Date().toISOString(), body };
}
