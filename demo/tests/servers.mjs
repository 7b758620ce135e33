import assert from "node:assert/strict";
import { test } from "node:test";
import { call, connectLegacy, connectModern, LIMIT, MODERN_REVISION, refusalOf } from "./company.mjs";

test("the four servers have 52 tools, 30 of them read-only, all annotated", LIMIT, async () => {
  const counts = {};
  const tools = [];
  for (const server of ["jira", "wiki", "drive", "gitlab"]) {
    const client = server === "jira" ? await connectLegacy(server) : await connectModern(server);
    const listed = (await client.listTools()).tools;
    counts[server] = listed.length;
    tools.push(...listed);
  }
  assert.deepEqual(counts, { jira: 15, wiki: 11, drive: 10, gitlab: 16 });
  assert.equal(tools.length, 52);
  assert.equal(tools.filter((tool) => tool.annotations.readOnlyHint).length, 30);
  for (const { name, title, description, inputSchema, annotations } of tools) {
    assert.ok(title && description.length > 20, `${name} says what it does`);
    assert.equal(inputSchema.type, "object");
    for (const hint of ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"]) {
      assert.equal(typeof annotations[hint], "boolean", `${name} ${hint}`);
    }
    assert.ok(!(annotations.readOnlyHint && annotations.destructiveHint), name);
  }
  assert.ok(tools.filter((tool) => tool.outputSchema).length >= 35);
});

test("each server speaks the eras it should, and no other", LIMIT, async () => {
  await assert.rejects(connectModern("jira"));
  await assert.rejects(connectLegacy("wiki"));
  for (const server of ["drive", "gitlab"]) {
    const older = await connectLegacy(server);
    const newer = await connectModern(server);
    assert.equal(newer.getNegotiatedProtocolVersion(), MODERN_REVISION);
    assert.deepEqual(
      (await older.listTools()).tools.map(({ name }) => name),
      (await newer.listTools()).tools.map(({ name }) => name),
    );
  }
  const session = (client) => client.transport.sessionId;
  assert.ok(session(await connectLegacy("jira")));
  assert.ok(session(await connectLegacy("gitlab")));
  assert.equal(session(await connectLegacy("drive")), undefined);
});

test("every reading tool answers", LIMIT, async () => {
  const jira = await connectLegacy("jira");
  const found = await call(jira, "search_issues", { query: "cents", project: "PAY" });
  assert.deepEqual(
    found.issues.map(({ key }) => key),
    ["PAY-101"],
  );
  assert.equal((await call(jira, "get_issue", { key: "PAY-101" })).issue.links.length, 2);
  assert.equal((await call(jira, "list_projects")).projects.length, 4);
  assert.equal((await call(jira, "list_comments", { key: "PAY-101" })).comments.length, 2);
  assert.equal((await call(jira, "list_transitions", { key: "PAY-103" })).from, "To Do");
  assert.equal((await call(jira, "find_users", { query: "carol" })).users.length, 1);
  assert.equal((await call(jira, "list_sprints", { project: "PAY" })).sprints.length, 2);

  const wiki = await connectModern("wiki");
  const runbook = { space: "eng", slug: "payments-runbook" };
  assert.equal((await call(wiki, "search_pages", { query: "sandbox" })).total, 1);
  assert.match((await call(wiki, "get_page", runbook)).page.body, /Restart order/);
  assert.equal((await call(wiki, "list_spaces")).spaces.length, 4);
  assert.equal((await call(wiki, "list_pages", { space: "fin" })).pages.length, 3);
  assert.equal((await call(wiki, "list_revisions", runbook)).revisions.length, 2);
  assert.equal((await call(wiki, "list_backlinks", runbook)).pages[0].slug, "ledger-design");
  assert.match(
    await call(wiki, "compare_revisions", { ...runbook, from: 1, to: 2 }),
    /^\+## Sandbox access$/m,
  );

  const drive = await connectModern("drive");
  assert.equal((await call(drive, "search_files", { query: "iban" })).files[0].id, "f-103");
  assert.deepEqual((await call(drive, "list_folder", { path: "/Finance" })).folders, ["/Finance/2026"]);
  assert.equal((await call(drive, "get_file_metadata", { id: "f-107" })).file.mime_type, "image/png");
  assert.match(await call(drive, "read_file", { id: "f-101" }), /^month,revenue_eur/);
  assert.equal((await call(drive, "read_file", { id: "f-107" })).type, "image");
  assert.equal((await call(drive, "list_recent_files", { limit: 3 })).files.length, 3);
  assert.equal((await call(drive, "list_permissions", { id: "f-103" })).permissions.length, 1);

  const gitlab = await connectModern("gitlab");
  const review = { project: "payments/invoice-api", iid: 17 };
  assert.equal((await call(gitlab, "list_projects")).projects.length, 3);
  assert.deepEqual((await call(gitlab, "get_project", { project: review.project })).project.branches, [
    "main",
  ]);
  assert.equal((await call(gitlab, "list_merge_requests", { state: "open" })).merge_requests.length, 3);
  assert.deepEqual((await call(gitlab, "get_merge_request", review)).merge_request.changed_files, [
    "src/amount.mjs",
  ]);
  assert.match(await call(gitlab, "get_merge_request_diff", review), /^\+ {2}return \(cents \/ 100\)/m);
  assert.equal(
    (await call(gitlab, "list_commits", { project: "payments/ledger" })).commits[0].sha,
    "e5a8b924",
  );
  assert.match(
    await call(gitlab, "get_file", { project: "payments/ledger", path: "src/book.mjs" }),
    /Books one/,
  );
  assert.equal((await call(gitlab, "search_code", { query: "idempotency_key" })).matches.length, 1);
  assert.equal(
    (await call(gitlab, "list_pipelines", { project: "payments/ledger", status: "failed" })).pipelines[0].id,
    9004,
  );
});

test("writing really writes, over sessions and eras", LIMIT, async () => {
  const jira = await connectLegacy("jira");
  const { issue } = await call(jira, "create_issue", { project: "OPS", summary: "Order two laptops" });
  const key = issue.key;
  await call(jira, "update_issue", { key, priority: "high" });
  await call(jira, "add_comment", { key, body: "With large screens." });
  await call(jira, "assign_issue", { key, assignee: "grace@acme.example" });
  await call(jira, "link_issues", { key, type: "relates_to", target: "jira://issues/OPS-31" });
  const other = await connectLegacy("jira");
  const seen = (await call(other, "get_issue", { key })).issue;
  assert.deepEqual([seen.priority, seen.assignee, seen.links.length], ["high", "grace@acme.example", 1]);
  await call(other, "delete_issue", { key });
  assert.match(await refusalOf(jira, "get_issue", { key }), /There is no issue OPS-33/);

  const wiki = await connectModern("wiki");
  const page = { space: "it", slug: "printers" };
  await call(wiki, "create_page", { ...page, title: "Printers", body: "# Printers" });
  await call(wiki, "update_page", { ...page, body: "# Printers\n\nNone.", base_revision: 1 });
  assert.match(
    await refusalOf(wiki, "update_page", { ...page, body: "x", base_revision: 1 }),
    /at revision 2/,
  );
  assert.match(await call(wiki, "delete_page", page), /2 revisions are deleted/);

  const drive = await connectLegacy("drive");
  const upload = { folder: "/Support", name: "Notes.txt", text: "hello" };
  const { file } = await call(drive, "upload_file", upload);
  await call(drive, "move_file", { id: file.id, folder: "/Company" });
  await call(drive, "share_file", { id: file.id, grantee: "group:support" });
  const again = await connectModern("drive");
  assert.equal((await call(again, "get_file_metadata", { id: file.id })).file.folder, "/Company");
  await call(again, "trash_file", { id: file.id });
  assert.match(await refusalOf(drive, "read_file", { id: file.id }), /in the trash/);

  const gitlab = await connectLegacy("gitlab");
  const project = "payments/ledger";
  const branch = "more-tests";
  await call(gitlab, "create_branch", { project, name: branch });
  const commit = { project, branch, path: "test/book.mjs", text: "// soon\n", message: "Start a test" };
  await call(gitlab, "commit_file", commit);
  assert.match(await refusalOf(gitlab, "commit_file", { ...commit, branch: "main" }), /protected/);
  const created = await call(gitlab, "create_merge_request", {
    project,
    source_branch: branch,
    title: "Tests",
  });
  const { iid } = created.merge_request;
  assert.deepEqual(created.merge_request.changed_files, ["test/book.mjs"]);
  await call(gitlab, "comment_on_merge_request", { project, iid, body: "Good." });
  assert.match(await refusalOf(gitlab, "merge_merge_request", { project, iid }), /no approval/);
  await call(gitlab, "approve_merge_request", { project, iid });
  await call(gitlab, "merge_merge_request", { project, iid });
  assert.equal(await call(gitlab, "get_file", { project, path: "test/book.mjs" }), "// soon\n");
  assert.equal((await call(gitlab, "retry_pipeline", { project, id: 9004 })).pipeline.status, "running");
});

test("moving an issue to Done asks the user for a resolution", LIMIT, async () => {
  const asked = [];
  const willing = await connectLegacy("jira", {
    answer: ({ params }) => {
      asked.push(params.message);
      return { action: "accept", content: { resolution: "Duplicate" } };
    },
  });
  const moved = await call(willing, "transition_issue", { key: "PAY-105", to: "Done" });
  assert.deepEqual([moved.issue.status, moved.issue.resolution], ["Done", "Duplicate"]);
  assert.deepEqual(asked, ["How was PAY-105 resolved?"]);

  const unwilling = await connectLegacy("jira", { answer: () => ({ action: "decline" }) });
  assert.match(
    await refusalOf(unwilling, "transition_issue", { key: "PAY-103", to: "Done" }),
    /was not moved/,
  );
  const mute = await connectLegacy("jira");
  assert.match(
    await refusalOf(mute, "transition_issue", { key: "PAY-103", to: "Done" }),
    /cannot ask its user/,
  );
  assert.equal((await call(mute, "get_issue", { key: "PAY-103" })).issue.status, "To Do");
});

test("the sprint report reports progress", LIMIT, async () => {
  const jira = await connectLegacy("jira");
  const steps = [];
  const result = await jira.callTool(
    { name: "build_sprint_report", arguments: { sprint: 42, pace_ms: 20 } },
    undefined,
    { onprogress: ({ progress, total }) => steps.push([progress, total]) },
  );
  assert.equal(result.structuredContent.issues, 4);
  assert.deepEqual(steps, [
    [1, 4],
    [2, 4],
    [3, 4],
    [4, 4],
  ]);
});

test("publishing a page asks for confirmation through input_required", LIMIT, async () => {
  const asked = [];
  const willing = await connectModern("wiki", {
    answer: ({ params }) => {
      asked.push(params.message);
      return { action: "accept", content: { publish: true, note: "Board meeting" } };
    },
  });
  const unwilling = await connectModern("wiki", { answer: () => ({ action: "decline" }) });
  const page = { space: "fin", slug: "q4-forecast-notes" };
  assert.match(await refusalOf(unwilling, "publish_page", page), /was not published/);
  assert.equal((await call(willing, "get_page", page)).page.status, "draft");
  const published = await call(willing, "publish_page", page);
  assert.deepEqual([published.page.status, published.note], ["published", "Board meeting"]);
  assert.equal(asked.length, 1);
  await assert.rejects(
    (await connectModern("wiki")).callTool({
      name: "publish_page",
      arguments: { space: "it", slug: "ai-portal" },
    }),
    { code: -32021 },
  );
});

test("prompts, completions, resources and templates", LIMIT, async () => {
  const jira = await connectLegacy("jira");
  assert.equal((await jira.listPrompts()).prompts.length, 2);
  const triage = await jira.getPrompt({ name: "triage_issue", arguments: { key: "SUP-211" } });
  assert.match(triage.messages[0].content.text, /charged twice/);
  assert.ok((await jira.readResource({ uri: "jira://issues/FIN-11" })).contents[0].text.includes("October"));

  const wiki = await connectModern("wiki");
  const completion = await wiki.complete({
    ref: { type: "ref/prompt", name: "summarize_page" },
    argument: { name: "slug", value: "re" },
    context: { arguments: { space: "eng" } },
  });
  assert.deepEqual(completion.completion.values, ["review-guide"]);
  const summary = await wiki.getPrompt({
    name: "summarize_page",
    arguments: { space: "sup", slug: "refund-policy" },
  });
  assert.equal(summary.messages[0].content.resource.uri, "wiki://acme/sup/refund-policy");
  assert.ok(
    (await wiki.listResources()).resources.some(({ uri }) => uri === "wiki://acme/fin/month-end-close"),
  );
  assert.equal((await wiki.listResourceTemplates()).resourceTemplates.length, 1);
  assert.match((await wiki.readResource({ uri: "wiki://acme/index" })).contents[0].text, /# Finance/);
  await assert.rejects(wiki.readResource({ uri: "wiki://acme/eng/nothing" }), { code: -32602 });

  const drive = await connectModern("drive");
  const picture = (await drive.readResource({ uri: "drive://acme/files/f-107" })).contents[0];
  assert.equal(Buffer.from(picture.blob, "base64").subarray(1, 4).toString(), "PNG");
  const gitlab = await connectLegacy("gitlab");
  const source = "gitlab://acme/payments/ledger/-/blob/src/book.mjs";
  assert.match((await gitlab.readResource({ uri: source })).contents[0].text, /Books one entry/);
  assert.equal((await gitlab.listPrompts()).prompts[0].name, "review_merge_request");
});

test("subscriptions hear of changed pages", LIMIT, async () => {
  const wiki = await connectModern("wiki");
  const uri = "wiki://acme/eng/review-guide";
  const heard = Promise.withResolvers();
  wiki.setNotificationHandler("notifications/resources/updated", ({ params }) => heard.resolve(params.uri));
  const subscription = await wiki.listen({ resourceSubscriptions: [uri] });
  await call(wiki, "update_page", {
    space: "eng",
    slug: "review-guide",
    body: "# Be kind",
    base_revision: 1,
  });
  assert.equal(await heard.promise, uri);
  await subscription.close();
});
