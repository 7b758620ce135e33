// Tasks (SEP-2663) through the portal: on the wire, and as the official client of the extension drives them.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { createTaskSessionFromClient, resultFromTaskOutcome } from "@modelcontextprotocol/ext-tasks/client";
import { eventually } from "../harness/bounded.mjs";
import { applyConfig } from "../harness/config.mjs";
import { connectTwo, MODERN } from "./fixtures/clients.mjs";
import { ask, eventsOf, openSession, send } from "./fixtures/rpc.mjs";
import { EXTENSION, startTaskServer } from "./fixtures/task_server.mjs";
import { startUpstream, tool } from "./fixtures/upstream.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 60_000 };
const RULES_MS = 8_000;
/** That a client left is noticed at the latest when something is said to it: every 15 s. */
const GONE_MS = 25_000;
const DECLARED = { extensions: { [EXTENSION]: {} }, elicitation: {} };
const METHODS = ["tasks/get", "tasks/update", "tasks/cancel"];
const UNKNOWN = /^Task not found: there is no such task here, or it has expired/;

let world;
let jobs;
let other;
let token;

before(async () => {
  jobs = await startTaskServer();
  other = await startUpstream({ era: "modern", tools: [tool("read")] });
  const servers = { jobs: { url: jobs.url }, other: { url: other.url } };
  world = await openWorld({ servers, portals: { second: { servers: ["jobs"] } } });
  token = await world.token();
});

after(async () => {
  await world?.stop();
  await jobs?.stop();
  await other?.stop();
});

beforeEach(() => {
  jobs.received.length = 0;
  other.received.length = 0;
});

/** One request of a client that declares the extension. */
function asks(method, params, { who = token, url = world.url(), ...options } = {}) {
  const named = params.taskId === undefined ? {} : { "mcp-name": params.taskId };
  return ask(url, who, method, params, { capabilities: DECLARED, headers: named, ...options });
}

const call = (name, options) => asks("tools/call", { name, arguments: {} }, options);
const about = (method, taskId) =>
  method === "tasks/update" ? { taskId, inputResponses: { question: { action: "cancel" } } } : { taskId };

/** A task: the id the client has and the server's own. */
async function begin(name) {
  const known = new Set(jobs.tasks.keys());
  const { answer } = await call(name);
  assert.equal(answer.result?.resultType, "task", JSON.stringify(answer));
  const own = [...jobs.tasks.keys()].find((id) => !known.has(id));
  return { sealed: answer.result.taskId, own, result: answer.result };
}

/** The rows of a request, as soon as its outcome or refusal is among them. */
function rowsOf(method, since) {
  const sql =
    "SELECT kind, status, reason, server, target, is_write FROM audit_events WHERE method = ? AND id > ? ORDER BY id";
  const ended = (rows) => rows.some(({ kind }) => kind !== "intent");
  const look = async () => {
    const rows = await world.portal.d1(sql, method, since);
    return ended(rows) ? rows : undefined;
  };
  return eventually(look, { ms: 5_000, everyMs: 100, what: `rows of ${method}` });
}

/** Rows after this one are those of what comes. Ids begin with the time. */
const now = () => Date.now().toString(16).padStart(12, "0");

describe("tasks on the wire", () => {
  test("the portal declares what one of its servers does, and to modern clients only", LIMIT, async () => {
    const { answer } = await ask(world.url(), token, "server/discover");
    assert.deepEqual(answer.result.capabilities.extensions, { [EXTENSION]: {} });
    const session = await openSession(world.url(), token);
    assert.equal(session.initialized?.capabilities?.extensions, undefined);
  });

  test("a call becomes a task that is followed to its end under an id of its own", LIMIT, async () => {
    const { sealed, own, result } = await begin("jobs_job");
    assert.notEqual(sealed, own);
    assert.match(sealed, /^[\w-]+$/);
    assert.deepEqual(
      { ...result, taskId: own, resultType: undefined },
      { ...jobs.tasks.get(own), resultType: undefined },
    );
    const working = await asks("tasks/get", { taskId: sealed });
    assert.deepEqual([working.status, working.answer.result.status], [200, "working"]);
    assert.equal(working.answer.result.taskId, sealed);
    assert.equal(jobs.last("tasks/get").message.params.taskId, own);
    assert.equal(jobs.last("tasks/get").headers["mcp-name"], own);
    const done = { content: [{ type: "text", text: "done" }], isError: true };
    jobs.end(own, { status: "completed", result: done });
    const { answer } = await asks("tasks/get", { taskId: sealed });
    assert.deepEqual(answer.result.result, done);
    assert.deepEqual([answer.result.status, answer.result.resultType], ["completed", "complete"]);
  });

  test("questions and cancellations reach the server", LIMIT, async () => {
    const { sealed } = await begin("jobs_confirm");
    const asked = (await asks("tasks/get", { taskId: sealed })).answer.result;
    assert.deepEqual(Object.keys(asked.inputRequests), ["question"]);
    const inputResponses = { question: { action: "accept", content: { yes: true } } };
    const acknowledged = await asks("tasks/update", { taskId: sealed, inputResponses });
    assert.deepEqual(acknowledged.answer.result, { resultType: "complete" });
    const { result } = (await asks("tasks/get", { taskId: sealed })).answer.result;
    assert.deepEqual(JSON.parse(result.content[0].text), inputResponses);
    const second = await begin("jobs_job");
    const cancelled = await asks("tasks/cancel", { taskId: second.sealed });
    assert.deepEqual(cancelled.answer.result, { resultType: "complete" });
    assert.equal(jobs.tasks.get(second.own).status, "cancelled");
  });

  test("what is asked about a write's task is recorded as the call was", LIMIT, async () => {
    const { sealed } = await begin("jobs_write_job");
    for (const [method, writes] of [
      ["tasks/get", 0],
      ["tasks/update", 1],
      ["tasks/cancel", 1],
    ]) {
      const since = now();
      const { answer } = await asks(method, about(method, sealed));
      assert.ok(answer.result, JSON.stringify(answer));
      const rows = await rowsOf(method, since);
      const row = { reason: null, server: "jobs", target: "write_job", is_write: writes };
      const outcome = { kind: "outcome", status: "ok", ...row };
      const intent = { kind: "intent", status: "pending", ...row };
      assert.deepEqual(
        rows.map((each) => ({ ...each })),
        writes ? [intent, outcome] : [outcome],
        method,
      );
    }
  });

  test("a task is nobody else's, of no other portal, and nothing that was made up", LIMIT, async () => {
    const { sealed, own } = await begin("jobs_job");
    const bob = await world.token("bob@acme.example");
    const flipped = `${sealed.slice(0, 40)}${sealed[40] === "A" ? "B" : "A"}${sealed.slice(41)}`;
    for (const method of METHODS) {
      for (const [what, id, options] of [
        ["another person's", sealed, { who: bob }],
        ["another portal's", sealed, { url: world.url("second") }],
        ["changed", flipped, {}],
        ["the server's own", own, {}],
      ]) {
        const since = now();
        const { answer } = await asks(method, about(method, id), options);
        assert.equal(answer.error?.code, -32602, `${method} ${what}: ${JSON.stringify(answer)}`);
        assert.match(answer.error.message, UNKNOWN);
        const [row] = await rowsOf(method, since);
        assert.deepEqual([row.kind, row.reason], ["refusal", "unknown_task"], `${method} ${what}`);
      }
    }
    assert.deepEqual(
      METHODS.map((method) => jobs.count(method)),
      [0, 0, 0],
    );
  });

  test(
    "a client that does not declare the extension gets no task and may ask about none",
    LIMIT,
    async () => {
      const { sealed } = await begin("jobs_job");
      const plain = await call("jobs_job", { capabilities: {} });
      assert.equal(plain.answer.result.content[0].text, "at once");
      for (const method of METHODS) {
        const { status, answer } = await asks(method, about(method, sealed), { capabilities: {} });
        assert.deepEqual([status, answer.error.code], [400, -32021]);
        assert.deepEqual(answer.error.data.requiredCapabilities, { extensions: { [EXTENSION]: {} } });
      }
      const notifications = { taskIds: [sealed] };
      const refused = await ask(world.url(), token, "subscriptions/listen", { notifications });
      assert.equal(refused.answer.error.code, -32021);
    },
  );

  test("a server without the extension is told nothing of it", LIMIT, async () => {
    await call("other_read");
    const capabilities = (upstream) =>
      upstream.last("tools/call").message.params._meta["io.modelcontextprotocol/clientCapabilities"];
    assert.deepEqual(capabilities(other), { elicitation: {}, extensions: {} });
    await call("jobs_plain");
    assert.deepEqual(capabilities(jobs), DECLARED);
  });

  test("the header must name the task", LIMIT, async () => {
    const { sealed } = await begin("jobs_job");
    for (const headers of [{}, { "mcp-name": "other" }]) {
      const { status, answer } = await asks("tasks/get", { taskId: sealed }, { headers });
      assert.deepEqual([status, answer.error.code], [400, -32020]);
    }
    for (const method of ["tasks/result", "tasks/list"]) {
      const { status, answer } = await asks(method, { taskId: sealed });
      assert.deepEqual([status, answer.error.code], [404, -32601], method);
    }
  });

  test("whoever listens hears of their own tasks", LIMIT, async () => {
    const { sealed, own } = await begin("jobs_job");
    const unheard = await begin("jobs_job");
    const bobs = await asks(
      "tools/call",
      { name: "jobs_job", arguments: {} },
      { who: await world.token("bob@acme.example") },
    );
    const notifications = { taskIds: [sealed, bobs.answer.result.taskId, "made-up"] };
    const response = await send(
      world.url(),
      token,
      "subscriptions/listen",
      { notifications },
      {
        capabilities: DECLARED,
        id: "listening",
      },
    );
    const events = eventsOf(response);
    const first = await events.message();
    assert.deepEqual(first.params.notifications, { taskIds: [sealed] });
    assert.deepEqual(jobs.last("subscriptions/listen").message.params.notifications, { taskIds: [own] });
    const result = { content: [{ type: "text", text: "é" }] };
    jobs.notify(own);
    jobs.end(unheard.own, { status: "completed", result });
    jobs.end(own, { status: "completed", result });
    const working = await events.message();
    assert.deepEqual([working.params.taskId, working.params.status], [sealed, "working"]);
    const { params } = await events.message();
    assert.deepEqual([params.taskId, params.status], [sealed, "completed"]);
    assert.deepEqual(params.result, result);
    assert.deepEqual(params._meta, { "io.modelcontextprotocol/subscriptionId": "listening" });
    await events.cut();
    const isLetGo = () => jobs.listeners.size === 0;
    await eventually(isLetGo, { ms: GONE_MS, what: "the portal lets go of the server's stream" });
  });

  test("a task ends with the rule that allowed its call", LIMIT, async () => {
    const { sealed, own } = await begin("jobs_job");
    const notifications = { taskIds: [sealed] };
    const response = await send(
      world.url(),
      token,
      "subscriptions/listen",
      { notifications },
      {
        capabilities: DECLARED,
      },
    );
    const events = eventsOf(response);
    await events.message();
    const stricter = structuredClone(world.config);
    stricter.servers.jobs.tools = { default: "allow", deny: ["job"] };
    await applyConfig(world.portal.origin, stricter, world.portal.setupToken);
    try {
      const denied = async () => (await asks("tasks/get", { taskId: sealed })).answer.error;
      const error = await eventually(denied, { ms: RULES_MS, what: "the task is denied" });
      assert.deepEqual([error.code, UNKNOWN.test(error.message)], [-32602, true]);
      // The stream's own timer, too.
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      jobs.end(own, { status: "completed", result: { content: [{ type: "text", text: "secret" }] } });
      const heard = events.message(({ method }) => method === "notifications/tasks", 2_000);
      await assert.rejects(heard, /took longer/);
    } finally {
      await applyConfig(world.portal.origin, world.config, world.portal.setupToken);
      await events.cut().catch(() => {});
    }
    const allowed = async () => (await asks("tasks/get", { taskId: sealed })).answer.result;
    const { status } = await eventually(allowed, { ms: RULES_MS, what: "the task is allowed again" });
    assert.equal(status, "completed");
  });
});

describe("the official client of the extension", () => {
  /** What the extension's client leaves to its host: one request on the wire. */
  async function rawDispatch({ method, params }) {
    const name = params.taskId ?? params.name;
    const { _meta: meta, ...rest } = params;
    const headers = { "mcp-name": name };
    const capabilities = meta["io.modelcontextprotocol/clientCapabilities"];
    const { answer } = await ask(world.url(), token, method, rest, { meta, headers, capabilities });
    return answer.error ? { kind: "error", error: answer } : { kind: "result", result: answer.result };
  }

  async function withSession(run, options = {}) {
    const client = await connectTwo(world.url(), token, { capabilities: { elicitation: {} } });
    const session = createTaskSessionFromClient(client, {
      endpointId: "portal",
      rawDispatch,
      v2RequestFraming: {
        protocolVersion: MODERN,
        clientInfo: { name: "official", version: "1" },
        clientCapabilities: { elicitation: {} },
      },
      ...options,
    });
    try {
      await run(session);
    } finally {
      await session.close();
      await client.close();
    }
  }

  test("drives a task to its result", LIMIT, () =>
    withSession(async (session) => {
      const execution = await session.callTool("jobs_job", {});
      assert.equal(execution.kind, "task");
      const [own] = [...jobs.tasks.keys()].slice(-1);
      assert.notEqual(execution.handle.taskId, own);
      const settled = execution.settle();
      await eventually(() => jobs.count("tasks/get") > 0, { what: "a poll" });
      const result = { resultType: "complete", content: [{ type: "text", text: "official" }] };
      jobs.end(own, { status: "completed", result });
      const { outcome } = await settled;
      assert.equal(resultFromTaskOutcome(outcome).content[0].text, "official");
    }),
  );

  test("answers a task's question", LIMIT, () => {
    const onInputRequest = () => ({ action: "accept", content: { yes: true } });
    return withSession(
      async (session) => {
        const { outcome } = await (await session.callTool("jobs_confirm", {})).settle();
        const { content } = resultFromTaskOutcome(outcome);
        assert.deepEqual(JSON.parse(content[0].text), { question: onInputRequest() });
      },
      { onInputRequest },
    );
  });

  test("cancels a task", LIMIT, () =>
    withSession(async (session) => {
      const execution = await session.callTool("jobs_job", {});
      const settled = execution.settle();
      await execution.cancel();
      const { outcome } = await settled;
      assert.equal(outcome.status, "cancelled");
    }),
  );
});
