import { inputRequired, inputResponse } from "@modelcontextprotocol/server";
import { z } from "zod";
import { SETS } from "../tool.mjs";
import { latestOf, Page, requirePage, Slug, SpaceKey, toPage, uriOf } from "./pages.mjs";

const Confirmation = z.object({
  publish: z.boolean().describe("Yes, publish it").meta({ title: "Publish" }),
  note: z.string().max(200).optional().describe("Why, for the change log").meta({ title: "Note" }),
});

/**
 * Publishing asks first, in the modern way: the call ends with `input_required`, and the caller calls again
 * with the person's answer. The sealed state names what was asked about, so an answer cannot be used for
 * another page or for a text that changed in between.
 *
 * @param {object} wiki
 * @param {() => import("@modelcontextprotocol/server").ServerNotifier} notify
 * @param {import("@modelcontextprotocol/server").RequestStateCodec} codec
 * @returns {import("../tool.mjs").Tool}
 */
export function publishTool(wiki, notify, codec) {
  return {
    name: "publish_page",
    title: "Publish a page",
    description: "Make a draft visible to everyone at ACME. The user is asked to confirm.",
    annotations: SETS,
    input: z.object({ space: SpaceKey, slug: Slug }),
    output: z.object({ page: Page, note: z.string().nullable() }),
    run: async ({ space, slug }, context) => {
      const page = requirePage(wiki, space, slug);
      if (page.status === "published") return { page: toPage(page), note: null };

      const asked = { uri: uriOf(page), revision: latestOf(page).number };
      const answer = inputResponse(context.mcpReq.inputResponses, "confirm");
      if (answer.kind !== "elicit") {
        return inputRequired({
          inputRequests: {
            confirm: inputRequired.elicit({
              message: `Publish "${page.title}" (revision ${asked.revision}) to everyone at ACME?`,
              requestedSchema: Confirmation,
            }),
          },
          requestState: await codec.mint(asked, context),
        });
      }

      const state = context.mcpReq.requestState();
      if (state?.uri !== asked.uri || state.revision !== asked.revision) {
        throw new Error(
          `This answer was given for another text. Call publish_page for ${space}/${slug} again.`,
        );
      }
      const given = Confirmation.safeParse(answer.content);
      if (answer.action !== "accept" || !given.success || !given.data.publish) {
        throw new Error(`${space}/${slug} was not published: the user did not confirm.`);
      }
      page.status = "published";
      notify().resourceUpdated(asked.uri);
      return { page: toPage(page), note: given.data.note ?? null };
    },
  };
}
