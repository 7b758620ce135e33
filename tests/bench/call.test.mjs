// The same black-box list for the portal and for the rival it is measured against: a rival that does less is no rival.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { root } from "../harness/worker.mjs";
import { callHeaders, callMessage, httpRequest, nextId, payloadOf } from "./calls.mjs";
import { HOST } from "./document.mjs";
import { Lane } from "./lane.mjs";
import { readAudit } from "./tables.mjs";
import { startIssuer } from "./tokens.mjs";
import { makePortal, makeVariant } from "./variants.mjs";
import { makeStateFolder, removeStateFolder, startWorld } from "./world.mjs";

const MAX_BODY_BYTES = 4 * 1024 * 1024;
const TEST_MS = 30_000;
const built = existsSync(join(root, "build", "index.js"));

const bare = (target) => target?.replace(/^echo_/, "");

for (const name of ["js-portal", "portal"]) {
  const skip = name === "portal" && !built ? "the portal is not built" : false;
  describe(`one call through ${name}`, { skip, timeout: 10 * TEST_MS }, () => defineTests(name));
}

function defineTests(name) {
  let issuer;
  let state;
  let world;
  let variant;
  let alice;

  before(async () => {
    issuer = await startIssuer();
    variant = name === "portal" ? await makePortal(issuer) : makeVariant(name, issuer);
    state = makeStateFolder();
    world = await startWorld({ variants: [makeVariant("echo", issuer), variant], state });
    await variant.prepare(world);
    alice = await issuer.sign();
  });

  after(async () => {
    await world?.stop();
    await issuer?.close();
    if (state !== undefined) {
      removeStateFolder(state);
    }
  });

  /** Sends bytes and returns the answer with its JSON. */
  async function exchange(request) {
    const lane = await Lane.open({ host: "127.0.0.1", port: world.ports[name] });
    try {
      const answer = await lane.send(request);
      return { ...answer, json: () => JSON.parse(payloadOf(answer)) };
    } finally {
      lane.close();
    }
  }

  /** One tools/call; `change` may alter message and headers before they are sent. */
  function callTool(tool, { given = { bytes: 512 }, token = alice, change = () => {} } = {}) {
    const message = callMessage(tool, given);
    const headers = callHeaders(message, token);
    change(message, headers);
    return exchange(httpRequest(HOST, "/mcp", headers, JSON.stringify(message)));
  }

  async function upstreamCalls() {
    const response = await fetch(`http://127.0.0.1:${world.ports.echo}/`, {
      signal: AbortSignal.timeout(5000),
    });
    return (await response.json()).calls;
  }

  /** Runs `act` and demands that nothing of it reached the upstream. */
  async function staysHere(act) {
    const before = await upstreamCalls();
    const answer = await act();
    assert.equal(await upstreamCalls(), before, "the upstream was called");
    return answer;
  }

  test("an allowed call returns the upstream's result", { timeout: TEST_MS }, async () => {
    const answer = await callTool("echo_echo", { given: { bytes: 1000 } });
    assert.equal(answer.status, 200);
    const { id, result } = answer.json();
    assert.equal(typeof id, "number");
    assert.equal(result.resultType, "complete");
    assert.equal(result.content[0].text.length, 1000);
    assert.notEqual(result.isError, true);
  });

  test("string ids and large results survive", { timeout: TEST_MS }, async () => {
    const change = (message) => {
      message.id = "größe-1";
    };
    const answer = await callTool("echo_echo", { given: { bytes: 2_000_000 }, change });
    assert.equal(answer.json().id, "größe-1");
    assert.equal(answer.json().result.content[0].text.length, 2_000_000);
  });

  test("the upstream gets the bare name, the right headers and no credentials", {
    timeout: TEST_MS,
  }, async () => {
    const answer = await callTool("echo_mirror", {
      given: { note: "héllo \u{1f600}", deep: { list: [1, null] } },
    });
    const { headers, body } = JSON.parse(answer.json().result.content[0].text);
    const seen = new Map(headers);
    const message = JSON.parse(body);
    assert.equal(message.params.name, "mirror");
    assert.deepEqual(message.params.arguments, { note: "héllo \u{1f600}", deep: { list: [1, null] } });
    assert.equal(seen.get("mcp-name"), "mirror");
    assert.equal(seen.get("mcp-method"), "tools/call");
    assert.equal(seen.get("mcp-protocol-version"), "2026-07-28");
    assert.match(seen.get("accept"), /application\/json.*text\/event-stream/);
    assert.ok(!seen.has("authorization"), "the caller's token was passed on");
    assert.ok(!body.includes(alice) && !JSON.stringify(headers).includes(alice), "the caller's token leaked");
  });

  test("an upstream that streams is streamed", { timeout: TEST_MS }, async () => {
    const answer = await callTool("echo_stream", { given: { bytes: 700 } });
    assert.equal(answer.status, 200);
    assert.equal(answer.json().result.content[0].text.length, 700);
  });

  test("a result that is an error stays a result", { timeout: TEST_MS }, async () => {
    const answer = await callTool("echo_fail");
    assert.equal(answer.status, 200);
    assert.equal(answer.json().result.isError, true);
  });

  test("an upstream's JSON-RPC error is passed on", { timeout: TEST_MS }, async () => {
    const { error } = (await callTool("echo_reject")).json();
    assert.equal(error.code, -32602);
    assert.match(error.message, /negative/);
  });

  test("a tool that changes something works when a rule allows it", { timeout: TEST_MS }, async () => {
    const answer = await callTool("echo_write_note");
    assert.equal(answer.json().result.content[0].text, "done");
  });

  test("unknown and forbidden tools are answered alike", { timeout: TEST_MS }, async () => {
    const answers = [];
    for (const tool of ["echo_nothing", "echo_delete_note", "echo_purge", "echo", "other_echo"]) {
      const answer = await staysHere(() => callTool(tool));
      const { error, id } = answer.json();
      assert.equal(typeof id, "number");
      assert.equal(error.code, -32602);
      assert.equal(error.message, `Unknown tool: ${tool}`);
      answers.push(`${answer.status} ${JSON.stringify(Object.keys(error))}`);
    }
    assert.equal(new Set(answers).size, 1, answers.join("; "));
  });

  test("without a good token there is no call", { timeout: TEST_MS }, async () => {
    const nowS = Math.floor(Date.now() / 1000);
    const stranger = await startIssuer();
    const tokens = {
      none: undefined,
      garbage: "abc.def.ghi",
      expired: await issuer.sign({ exp: nowS - 600 }),
      "not yet valid": await issuer.sign({ nbf: nowS + 600 }),
      "for someone else": await issuer.sign({ aud: "http://elsewhere.example/mcp" }),
      "without audience": await issuer.sign({ aud: undefined }),
      "of another issuer": await stranger.sign(),
      "of another key": await stranger.sign({ iss: issuer.issuer }),
      "of an unknown key": await issuer.sign({}, { kid: "bench-2" }),
      tampered: `${alice.slice(0, -8)}AAAAAAAA`,
    };
    await stranger.close();
    for (const [what, token] of Object.entries(tokens)) {
      const change = (_, headers) => token === undefined && delete headers.authorization;
      const answer = await staysHere(() => callTool("echo_echo", { token, change }));
      assert.equal(answer.status, 401, what);
      assert.match(answer.head, /\r\nwww-authenticate: *Bearer /i, what);
    }
  });

  test("people whom the access rules leave out are refused", { timeout: TEST_MS }, async () => {
    const people = {
      "another company": { email: "eve@other.example" },
      excluded: { email: "mallory@acme.example" },
      "not in the group": { email: "carol@acme.example", groups: [] },
    };
    for (const [what, claims] of Object.entries(people)) {
      const token = await issuer.sign(claims);
      const answer = await staysHere(() => callTool("echo_echo", { token }));
      assert.ok(answer.status >= 400 && answer.status < 500, `${what}: ${answer.status}`);
      assert.equal(answer.json().result, undefined, what);
    }
    const bob = await issuer.sign({ email: "bob@acme.example", groups: [] });
    assert.equal(
      (await callTool("echo_echo", { token: bob })).status,
      200,
      "the document's own group counts",
    );
  });

  test("a portal without sign-in works without a token", { timeout: TEST_MS }, async () => {
    const message = callMessage("echo_echo", { bytes: 100 });
    const answer = await exchange(
      httpRequest(HOST, "/p/open/mcp", callHeaders(message), JSON.stringify(message)),
    );
    assert.equal(answer.json().result.content[0].text.length, 100);
  });

  test("headers must agree with the body", { timeout: TEST_MS }, async () => {
    const changes = {
      "another name": (_, headers) => Object.assign(headers, { "mcp-name": "echo_fail" }),
      "another method": (_, headers) => Object.assign(headers, { "mcp-method": "tools/list" }),
      "no name": (_, headers) => delete headers["mcp-name"],
      "no method": (_, headers) => delete headers["mcp-method"],
    };
    for (const [what, change] of Object.entries(changes)) {
      const answer = await staysHere(() => callTool("echo_echo", { change }));
      assert.equal(answer.status, 400, what);
      assert.equal(answer.json().error.code, -32020, what);
    }
    const encoded = Buffer.from("echo_echo").toString("base64");
    const answer = await callTool("echo_echo", {
      change: (_, headers) => Object.assign(headers, { "mcp-name": `=?base64?${encoded}?=` }),
    });
    assert.equal(answer.status, 200, "an encoded name is decoded before it is compared");
  });

  test("a request without its _meta fields is refused", { timeout: TEST_MS }, async () => {
    const answer = await staysHere(() =>
      callTool("echo_echo", {
        change: (message) => delete message.params._meta["io.modelcontextprotocol/clientCapabilities"],
      }),
    );
    assert.equal(answer.status, 400);
    assert.equal(answer.json().error.code, -32602);
  });

  test("an unknown method is not found", { timeout: TEST_MS }, async () => {
    const change = (message, headers) => {
      message.method = "tools/dance";
      headers["mcp-method"] = "tools/dance";
    };
    const answer = await staysHere(() => callTool("echo_echo", { change }));
    assert.equal(answer.status, 404);
    assert.equal(answer.json().error.code, -32601);
  });

  test("bad bodies are refused", { timeout: TEST_MS }, async () => {
    const headers = callHeaders(callMessage("echo_echo", {}), alice);
    const bodies = {
      empty: "",
      "cut off": '{"jsonrpc":"2.0","id":1,',
      "a batch": "[]",
      "a string": '"tools/call"',
    };
    for (const [what, body] of Object.entries(bodies)) {
      const answer = await staysHere(() => exchange(httpRequest(HOST, "/mcp", headers, body)));
      assert.equal(answer.status, 400, what);
    }
    // Its declared length is enough: waiting for the rest of it would be the fault.
    const declared = httpRequest(HOST, "/mcp", headers, "{").toString("latin1");
    const large = declared.replace("content-length: 1", `content-length: ${MAX_BODY_BYTES + 1}`);
    const answer = await staysHere(() => exchange(Buffer.from(large, "latin1")));
    assert.equal(answer.status, 413);
  });

  test("wrong origin, content type, method and place are refused", { timeout: TEST_MS }, async () => {
    const origin = (_, headers) => Object.assign(headers, { origin: "https://evil.example" });
    assert.equal((await staysHere(() => callTool("echo_echo", { change: origin }))).status, 403);
    const type = (_, headers) => Object.assign(headers, { "content-type": "text/plain" });
    assert.equal((await staysHere(() => callTool("echo_echo", { change: type }))).status, 415);
    const get = Buffer.from(`GET /mcp HTTP/1.1\r\nhost: ${HOST}\r\nauthorization: Bearer ${alice}\r\n\r\n`);
    assert.equal((await staysHere(() => exchange(get))).status, 405);
    const message = callMessage("echo_echo", {});
    const elsewhere = httpRequest(
      HOST,
      "/p/secret/mcp",
      callHeaders(message, alice),
      JSON.stringify(message),
    );
    assert.equal((await staysHere(() => exchange(elsewhere))).status, 404);
  });

  test("every call leaves its event in D1, refusals too", { timeout: TEST_MS }, async () => {
    const mark = `audit-${nextId()}@acme.example`;
    const token = await issuer.sign({ email: mark });
    await callTool("echo_echo", { token, given: { bytes: 300 } });
    await callTool("echo_fail", { token });
    await callTool("echo_reject", { token });
    await callTool("echo_write_note", { token });
    await callTool("echo_nothing", { token });
    const database = await world.mf.getD1Database("DB", name);
    const events = await eventually(
      async () => {
        const mine = (await readAudit(database)).filter((event) => event.email === mark);
        return mine.filter(({ kind }) => kind !== "intent").length >= 5 ? mine : undefined;
      },
      { ms: 20_000, everyMs: 200, what: "five outcomes in D1" },
    );
    const outcomes = events.filter(({ kind }) => kind !== "intent");
    assert.equal(outcomes.length, 5, "one outcome a call");
    const by = (tool) => outcomes.find(({ target }) => target === tool || target === `echo_${tool}`);
    assert.equal(by("echo").server, "echo");
    assert.equal(by("echo").portal, "main");
    assert.equal(by("echo").method, "tools/call");
    assert.ok(by("echo").reply_bytes >= 300);
    assert.ok(by("echo").request_bytes > 0);
    assert.ok(by("echo").duration_ms >= 0);
    assert.notEqual(by("fail").status, by("echo").status, "isError is part of the outcome");
    assert.notEqual(by("reject").status, by("echo").status, "so is an error of the protocol");
    assert.equal(by("write_note").status, by("echo").status);
    assert.equal(by("write_note").is_write, 1);
    const intents = events.filter(({ kind }) => kind === "intent");
    assert.equal(intents.length, 1, "only a change is announced");
    assert.equal(intents[0].request_id, by("write_note").request_id);
    const refused = outcomes.find(
      ({ target }) => !["echo", "fail", "reject", "write_note"].includes(bare(target)),
    );
    assert.notEqual(refused.status, by("echo").status, "the refusal is an event");
    assert.equal(
      new Set(outcomes.map((event) => event.request_id)).size,
      5,
      "every call has a request id of its own",
    );
  });
}
