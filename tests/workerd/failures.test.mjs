// What an upstream does wrong is said as such: never silence, never an empty list, never its own bytes as an answer.
// The numbers are those of our list of other gateways' faults.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { callTool, legacy, modern, openSession } from "./support/client.mjs";
import { startUpstream } from "./support/upstream.mjs";
import { portalEntry, startWorld } from "./support/world.mjs";

const options = { timeout: 60_000 };
const TIMEOUT_MS = 1_000;

let world;
let portal;
let token;
let frail;
let oldFrail;

before(async () => {
  oldFrail = await startUpstream({ era: "legacy" });
  world = await startWorld({
    config: ({ usual, upstream }) => {
      const more = { tools: { default: "read_only", allow: ["write_*"] }, timeout_ms: TIMEOUT_MS };
      const servers = {
        frail: { url: upstream.url, era: "modern", ...more },
        oldfrail: { url: oldFrail.url, era: "legacy", ...more },
      };
      const portals = { main: portalEntry(Object.keys(servers), { audience: ["portcullis"] }) };
      return { ...usual, servers, portals };
    },
  });
  ({ portal, token, upstream: frail } = world);
});

after(async () => {
  await world?.stop();
  await oldFrail?.stop();
});

test("11: a listing that lacks a server says so, and no server at all is an error", options, async () => {
  const broken = await startWorld({
    config: ({ usual }) => {
      const dead = { url: "http://127.0.0.1:1/mcp", era: "modern" };
      const portals = {
        main: portalEntry(["notes", "dead"], { audience: ["portcullis"] }),
        alone: portalEntry(["dead"], { audience: ["portcullis"], hostnames: [] }),
      };
      return { ...usual, servers: { ...usual.servers, dead }, portals };
    },
  });
  try {
    const session = await openSession(broken.portal, { token: broken.token });
    const alone = { token: broken.token, path: "/p/alone/mcp" };
    for (const method of ["tools/list", "resources/list", "prompts/list", "resources/templates/list"]) {
      for (const ask of [
        (what) => modern(broken.portal, method, {}, what),
        (what) => session.ask(method, {}, what),
      ]) {
        const some = await ask({ token: broken.token });
        assert.match(
          JSON.stringify(some.json.result?._meta ?? {}),
          /dead/,
          `${method}: ${some.text.slice(0, 300)}`,
        );
      }
      const none = await modern(broken.portal, method, {}, alone);
      assert.ok(none.json.error, `${method} of nobody: ${none.text.slice(0, 300)}`);
      assert.match(none.json.error.message, /dead/);
      const older = await legacy(broken.portal, method, {}, alone);
      assert.ok(older.json.error, `legacy ${method} of nobody: ${older.text.slice(0, 300)}`);
    }
  } finally {
    await broken.stop();
  }
});

const errorOf = (id) => ({ jsonrpc: "2.0", id, error: { code: -32001, message: "its own words" } });
const BODIES = {
  none: () => "",
  html: () => "<p>",
  json: () => '{"error":"invalid_token"}',
  "an error of no request": () => JSON.stringify(errorOf(null)),
  "an error of the request": (id) => JSON.stringify(errorOf(id)),
  "a result of the request": (id) => JSON.stringify({ jsonrpc: "2.0", id, result: { content: [] } }),
};
/** What a status means, whatever stands below it. (Redirects are tested with the credentials.) */
const MEANT = {
  401: /refused the portal's credential/,
  403: /refused the portal's credential/,
  429: /asks to wait 17 s/,
  500: /HTTP status 500/,
  503: /HTTP status 503/,
};

for (const server of ["frail", "oldfrail"]) {
  const call = async (status, kind) => {
    const upstream = server === "frail" ? frail : oldFrail;
    upstream.intercept = (seen, response) => {
      if (seen.message?.method !== "tools/call") {
        return false;
      }
      const type = kind === "html" ? "text/html" : "application/json";
      const headers = { "content-type": type, "www-authenticate": "Bearer", "retry-after": "17" };
      response.writeHead(status, headers).end(BODIES[kind](seen.message.id));
      return true;
    };
    const answer = await callTool(portal, `${server}_echo`, {}, { token });
    upstream.intercept = undefined;
    return answer;
  };

  test(`17: the status of ${server} means what it says, whatever its body looks like`, options, async () => {
    const faults = [];
    for (const [status, meant] of Object.entries(MEANT)) {
      for (const kind of Object.keys(BODIES)) {
        const answer = await call(Number(status), kind);
        try {
          assert.equal(answer.status, 200, "the client's own sign-in is not in question");
          assert.equal(answer.headers["www-authenticate"], undefined);
          assert.equal(answer.json?.id, answer.id);
          assert.equal(answer.json.error?.code, -32000);
          assert.match(answer.json.error.message, new RegExp(`'${server}'`));
          assert.match(answer.json.error.message, meant);
          assert.equal(answer.json.error.data.retryAfterSeconds, status === "429" ? 17 : undefined);
        } catch (error) {
          faults.push(`${status} ${kind}: ${answer.text.slice(0, 200)} (${error.message.split("\n")[0]})`);
        }
      }
    }
    assert.deepEqual(faults, []);
  });

  test(`17: an error of ${server} under another client error is passed on as its own`, options, async () => {
    for (const status of [400, 409, 422]) {
      for (const kind of ["an error of the request", "an error of no request"]) {
        const { json, id, text } = await call(status, kind);
        assert.deepEqual(
          [json?.id, json?.error?.message],
          [id, "its own words"],
          `${status} ${kind}: ${text}`,
        );
      }
      const { json } = await call(status, "a result of the request");
      assert.match(json.error?.message ?? JSON.stringify(json), new RegExp(`HTTP status ${status}`));
    }
  });
}

test(
  "17: nor does a body change what a status means while the portal finds out what a server offers",
  options,
  async () => {
    const refused = { legacy: ["initialize", "tools/list"], modern: ["server/discover", "tools/list"] };
    const kinds = ["none", "an error of the request", "a result of the request"];
    const upstreams = await Promise.all(Object.keys(refused).map((era) => startUpstream({ era })));
    const servers = {};
    const cases = {};
    for (const [index, [era, methods]] of Object.entries(refused).entries()) {
      for (const method of methods) {
        for (const [status, meant] of Object.entries(MEANT)) {
          for (const kind of kinds) {
            const id = `s${Object.keys(servers).length}`;
            servers[id] = { url: `${upstreams[index].origin}/${id}`, era };
            cases[id] = {
              name: `${era} ${method} ${status} ${kind}`,
              method,
              status: Number(status),
              meant,
              kind,
            };
          }
        }
      }
      upstreams[index].intercept = (seen, response) => {
        const { method, status, kind } = cases[seen.path.slice(1)];
        seen.path = "/mcp";
        if (seen.message?.method !== method) {
          return false;
        }
        const headers = { "content-type": "application/json", "retry-after": "17" };
        response.writeHead(status, headers).end(BODIES[kind](seen.message.id));
        return true;
      };
    }
    const broken = await startWorld({
      config: ({ usual }) => {
        const portals = {
          main: portalEntry(["notes", ...Object.keys(servers)], { audience: ["portcullis"] }),
        };
        return { ...usual, portals, servers: { ...usual.servers, ...servers } };
      },
    });
    try {
      const { json, text } = await modern(broken.portal, "tools/list", {}, { token: broken.token });
      const missing = json.result?._meta["portcullis/unavailableServers"];
      assert.ok(missing, text.slice(0, 300));
      const faults = Object.entries(cases).flatMap(([id, { name, meant }]) => {
        const reason = missing.find(({ server }) => server === id)?.reason;
        return meant.test(reason) ? [] : [`${name}: ${reason}`];
      });
      assert.deepEqual(faults, []);
    } finally {
      await broken.stop();
      await Promise.all(upstreams.map((upstream) => upstream.stop()));
    }
  },
);
