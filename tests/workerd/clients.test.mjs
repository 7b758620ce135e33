// Clients nobody here wrote, on the demo company through the portal.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { within } from "../harness/bounded.mjs";
import { connectOne, connectTwo, MODERN, namesOf, textOf } from "./fixtures/clients.mjs";
import { inspect } from "./fixtures/inspector.mjs";
import { openDemoWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
let world;
let token;

before(
  async () => {
    world = await openDemoWorld();
    token = await world.token();
  },
  { timeout: 300_000 },
);
after(() => world?.stop());

/** How each client connects, and which revision it must end up with. */
const CLIENTS = {
  "sdk 1.x": [() => connectOne(world.url(), token), "2025-11-25"],
  "client 2.x legacy": [() => connectTwo(world.url(), token, { mode: "legacy" }), "2025-11-25"],
  "client 2.x modern": [() => connectTwo(world.url(), token, { mode: "modern" }), MODERN],
  "client 2.x automatic": [() => connectTwo(world.url(), token, { mode: "auto" }), MODERN],
};

for (const [kind, [connect, revision]] of Object.entries(CLIENTS)) {
  describe(kind, () => {
    let client;
    before(async () => {
      client = await connect();
    }, LIMIT);
    after(() => client?.close());

    test("negotiates its revision", LIMIT, () => {
      const negotiated = client.getNegotiatedProtocolVersion?.() ?? client.transport.protocolVersion;
      assert.equal(negotiated, revision);
      assert.equal(client.getServerVersion().name, "portcullis");
      assert.match(client.getInstructions(), /portal/i);
    });

    test("lists all four servers in order, and nothing the rules forbid", LIMIT, async () => {
      const { tools } = await client.listTools();
      const names = namesOf(tools).filter((name) => !name.startsWith("portal_"));
      const prefixes = names.map((name) => name.split("_")[0]);
      assert.deepEqual([...new Set(prefixes)], ["jira", "wiki", "drive", "gitlab"]);
      assert.deepEqual(
        prefixes,
        prefixes.toSorted((a, b) => order(a) - order(b)),
      );
      assert.ok(names.includes("jira_create_issue"));
      assert.ok(names.includes("wiki_publish_page"));
      assert.ok(!names.some((name) => /^jira_delete|^drive_share_file|^drive_trash_file/.test(name)));
      const forge = tools.filter(({ name }) => name.startsWith("gitlab_"));
      assert.ok(
        forge.every(({ annotations }) => annotations.readOnlyHint),
        "only reading in the code forge",
      );
    });

    test("calls reading tools", LIMIT, async () => {
      const issue = await call(client, "jira_get_issue", { key: "PAY-101" });
      assert.equal(issue.structuredContent.issue.key, "PAY-101");
      const spaces = await call(client, "wiki_list_spaces", {});
      assert.equal(spaces.structuredContent.spaces.length, 4);
      const files = await call(client, "drive_search_files", { query: "iban" });
      assert.equal(files.structuredContent.files[0].id, "f-103");
      const image = await call(client, "drive_read_file", { id: "f-107" });
      assert.ok(image.content.some(({ type }) => type === "image"));
      const projects = await call(client, "gitlab_list_projects", {});
      assert.ok(!projects.isError, textOf(projects));
    });

    test("writes, and reads back what it wrote", LIMIT, async () => {
      const body = `by ${kind}`;
      const added = await call(client, "jira_add_comment", { key: "PAY-103", body });
      assert.ok(!added.isError, textOf(added));
      const { structuredContent } = await call(client, "jira_list_comments", { key: "PAY-103" });
      assert.ok(JSON.stringify(structuredContent).includes(body));
    });

    test("a forbidden tool is as unknown as one that does not exist", LIMIT, async () => {
      const forbidden = await refusal(client, "jira_delete_issue", { key: "PAY-103" });
      const unknown = await refusal(client, "jira_no_such_tool", {});
      assert.equal(forbidden.replace("jira_delete_issue", "X"), unknown.replace("jira_no_such_tool", "X"));
    });

    test("gets prompts, completes their arguments and reads resources", LIMIT, async () => {
      const prompts = namesOf((await client.listPrompts()).prompts);
      assert.ok(prompts.includes("wiki_summarize_page"), String(prompts));
      assert.ok(
        prompts.some((name) => name.startsWith("jira_")),
        String(prompts),
      );
      const page = { space: "eng", slug: "payments-runbook" };
      const prompt = await client.getPrompt({ name: "wiki_summarize_page", arguments: page });
      assert.equal(prompt.messages[0].content.type, "resource");
      const completed = await client.complete({
        ref: { type: "ref/prompt", name: "wiki_summarize_page" },
        argument: { name: "space", value: "e" },
      });
      assert.deepEqual(completed.completion.values, ["eng"]);
      const { resources } = await client.listResources();
      const uris = resources.map(({ uri }) => uri);
      assert.ok(uris.includes("wiki://acme/index"));
      const read = await client.readResource({ uri: "wiki://acme/eng/payments-runbook" });
      assert.match(read.contents[0].text, /Restart order/);
      const { resourceTemplates } = await client.listResourceTemplates();
      assert.ok(resourceTemplates.some(({ uriTemplate }) => uriTemplate === "wiki://acme/{space}/{slug}"));
    });

    test("hears the progress of a long call", LIMIT, async () => {
      const heard = [];
      const params = { name: "jira_build_sprint_report", arguments: { sprint: 1, pace_ms: 150 } };
      const options = { onprogress: (progress) => heard.push(progress.progress) };
      const { structuredContent: sprints } = await call(client, "jira_list_sprints", { project: "PAY" });
      params.arguments.sprint = sprints.sprints.at(-1).id;
      const result =
        revision === MODERN || kind.startsWith("client")
          ? await client.callTool(params, options)
          : await client.callTool(params, undefined, options);
      assert.ok(!result.isError, textOf(result));
      assert.ok(heard.length > 0, "no progress");
      assert.deepEqual(
        heard,
        heard.toSorted((a, b) => a - b),
      );
    });
  });
}

function order(prefix) {
  return ["jira", "wiki", "drive", "gitlab"].indexOf(prefix);
}

async function call(client, name, input) {
  return await within(client.callTool({ name, arguments: input }), 20_000, name);
}

async function refusal(client, name, input) {
  const error = await call(client, name, input).then(
    (result) => assert.fail(`${name} was answered: ${JSON.stringify(result)}`),
    (error) => error,
  );
  return `${error.code} ${error.message}`;
}

test("a modern client publishes a page through input_required", LIMIT, async () => {
  const asked = [];
  const client = await connectTwo(world.url(), token, {
    capabilities: { elicitation: { form: {} } },
    prepare: (each) =>
      each.setRequestHandler("elicitation/create", ({ params }) => {
        asked.push(params.message);
        return { action: "accept", content: { publish: true, note: "ready" } };
      }),
  });
  try {
    const { structuredContent } = await call(client, "wiki_search_pages", { query: "a", limit: 50 });
    const draft = structuredContent.pages.find(({ status }) => status === "draft");
    assert.ok(draft, "the demo has a draft");
    const page = { space: draft.space, slug: draft.slug };
    const published = await call(client, "wiki_publish_page", page);
    assert.equal(published.structuredContent?.page.status, "published", JSON.stringify(published));
    assert.equal(published.structuredContent.note, "ready");
    assert.equal(asked.length, 1);
    assert.match(asked[0], /^Publish /);
  } finally {
    await client.close();
  }
});

test("a legacy client is asked by a legacy server in the middle of a call", LIMIT, async () => {
  const asked = [];
  const client = await connectOne(world.url(), token, {
    capabilities: { elicitation: {} },
    prepare: (each) =>
      each.setRequestHandler(ElicitRequestSchema, ({ params }) => {
        asked.push(params.message);
        return { action: "accept", content: { resolution: "Fixed" } };
      }),
  });
  try {
    const moved = await call(client, "jira_transition_issue", { key: "PAY-101", to: "Done" });
    assert.equal(moved.structuredContent?.issue.status, "Done", textOf(moved));
    assert.deepEqual(asked, ["How was PAY-101 resolved?"]);
  } finally {
    await client.close();
  }
});

describe("the inspector's command line", () => {
  test("lists tools", LIMIT, async () => {
    const { json, stderr } = await inspect(world.url(), token, ["--method", "tools/list"]);
    assert.ok(json, stderr);
    assert.ok(namesOf(json.tools ?? json).includes("wiki_get_page"));
  });

  test("calls a tool", LIMIT, async () => {
    const args = ["--method", "tools/call", "--tool-name", "jira_get_issue", "--tool-arg", "key=PAY-101"];
    const { code, stdout, stderr } = await inspect(world.url(), token, args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /PAY-101/);
  });

  test("tells a missing tool", LIMIT, async () => {
    const args = ["--method", "tools/call", "--tool-name", "jira_delete_issue", "--tool-arg", "key=PAY-101"];
    const { code } = await inspect(world.url(), token, args);
    assert.notEqual(code, 0);
  });

  test("lists prompts", LIMIT, async () => {
    const { json, stderr } = await inspect(world.url(), token, ["--method", "prompts/list"]);
    assert.ok(json, stderr);
    assert.ok(namesOf(json.prompts ?? json).includes("wiki_draft_page"));
  });

  test("reads a resource", LIMIT, async () => {
    const args = ["--method", "resources/read", "--uri", "wiki://acme/index"];
    const { stdout, stderr, code } = await inspect(world.url(), token, args);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /wiki:\/\/acme\/eng\/payments-runbook/);
  });
});
