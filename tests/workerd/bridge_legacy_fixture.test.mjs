// The asking servers themselves, reached without a portal: what the bridge is measured against must be right first.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../harness/bounded.mjs";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall } from "./fixtures/asking_modern_call.mjs";
import { ABLE, connectAnswering } from "./fixtures/asking_modern_clients.mjs";
import { startOlder } from "./fixtures/asking_modern_older.mjs";
import { SCRIPTS } from "./fixtures/asking_modern_scripts.mjs";
import { startSdkAsking } from "./fixtures/asking_modern_sdk.mjs";
import { textOf } from "./fixtures/clients.mjs";
import { ask, openSession } from "./fixtures/rpc.mjs";

const LIMIT = { timeout: 30_000 };
let asking;
let sdk;

before(async () => {
  asking = await startAsking();
  sdk = await startSdkAsking();
}, LIMIT);
after(async () => {
  await asking?.stop();
  await sdk?.stop();
});

describe("an official modern client, directly", () => {
  test("gets through every script, each round once", LIMIT, async () => {
    const { client, heard } = await connectAnswering("modern", asking.url, "none");
    await client.listTools();
    for (const [name, rounds] of Object.entries(SCRIPTS)) {
      for (const as of ["json", "sse"]) {
        const tag = `direct-${name}-${as}`;
        const result = await client.callTool({ name, arguments: { tag, as } });
        const keys = rounds.flatMap((round) => Object.keys(round.ask ?? {}));
        assert.deepEqual(Object.keys(JSON.parse(textOf(result)).answers).sort(), keys.toSorted(), tag);
        assert.deepEqual(
          asking.steps(tag),
          Array.from({ length: rounds.length + 1 }, (_, step) => step),
          tag,
        );
      }
    }
    assert.ok(heard.elicited.length > 0 && heard.sampled.length > 0 && heard.rootsAsked > 0);
    assert.deepEqual(asking.faults, []);
    await client.close();
  });

  test("reads and prompts ask as well", LIMIT, async () => {
    const { client } = await connectAnswering("modern", asking.url, "none");
    const read = await client.readResource({ uri: "ask://form/direct" });
    assert.match(read.contents[0].text, /Ada on Who are you/);
    const prompt = await client.getPrompt({ name: "greet", arguments: { tag: "direct-prompt" } });
    assert.match(prompt.messages[0].content.text, /Ada on Who are you/);
    await client.close();
  });

  test("listens to resources", LIMIT, async () => {
    const { client, heard } = await connectAnswering("modern", asking.url, "none");
    const listening = await client.listen({ resourceSubscriptions: ["ask://one", "ask://none"] });
    assert.deepEqual(asking.subscribedUris(), ["ask://one"]);
    asking.update("ask://two");
    asking.update("ask://one");
    await eventually(() => heard.updated.length > 0, { what: "the update" });
    assert.deepEqual(heard.updated, ["ask://one"]);
    await listening.close();
    await eventually(() => asking.subscribedUris().length === 0, { what: "the end of the stream" });
    await client.close();
  });

  test("gets through the SDK server's tools", LIMIT, async () => {
    const { client, heard } = await connectAnswering("modern", sdk.url, "none");
    const booked = await client.callTool({ name: "book", arguments: { room: "blue" } });
    assert.match(textOf(booked), /^booked blue for Ada/);
    assert.equal(sdk.booked.length, 1);
    assert.match(textOf(await client.callTool({ name: "survey", arguments: {} })), /sampled words, file:/);
    const progress = [];
    // This client reports its own rounds too, with a message.
    const onprogress = (each) => each.message ?? progress.push(each.progress);
    const reported = await client.callTool({ name: "report", arguments: {} }, { onprogress });
    assert.match(textOf(reported), /^reported by Ada/);
    assert.deepEqual(progress, [1, 2]);
    assert.equal(heard.elicited.length, 4);
    await client.close();
  });
});

describe("the asking server", () => {
  const call = (params, capabilities = ABLE) =>
    ask(asking.url, "none", "tools/call", params, { capabilities });
  const begin = async (tag, name = "form") => {
    const params = { name, arguments: { tag } };
    return { params, state: (await call(params)).answer.result.requestState };
  };
  const answers = { name: { action: "accept", content: { name: "x" } } };

  test("refuses and reports a state that is changed, used twice, or another call's", LIMIT, async () => {
    const faults = asking.faults.length;
    const { params, state } = await begin("forged");
    const changed = [
      { ...params, requestState: `${state} `, inputResponses: answers },
      { ...params, requestState: state.slice(1), inputResponses: answers },
      { ...params, arguments: { tag: "other" }, requestState: state, inputResponses: answers },
    ];
    for (const each of changed) assert.equal((await call(each)).answer.error?.code, -32602);
    const once = await begin("once");
    const retry = { ...once.params, requestState: once.state, inputResponses: answers };
    assert.equal((await call(retry)).answer.result?.resultType, "complete");
    assert.equal((await call(retry)).answer.error?.code, -32602);
    assert.equal(asking.faults.length - faults, 4);
  });

  test("reports answers that it did not ask for, and those that are missing", LIMIT, async () => {
    const faults = asking.faults.length;
    for (const inputResponses of [{}, { ...answers, more: { action: "accept" } }]) {
      const { params, state } = await begin(`keys-${Object.keys(inputResponses)}`);
      await call({ ...params, requestState: state, inputResponses });
    }
    assert.equal(asking.faults.length - faults, 2);
  });

  test("refuses a client that cannot be asked, where it is polite", LIMIT, async () => {
    const { answer, status } = await call(
      { name: "link", arguments: { tag: "p", polite: true } },
      { elicitation: {} },
    );
    assert.deepEqual([status, answer.error?.code], [400, -32021]);
    assert.deepEqual(answer.error.data.requiredCapabilities, { elicitation: { url: {} } });
  });

  test("keeps a round while it is held", LIMIT, async () => {
    const hold = asking.hold("held", 0);
    let isAnswered = false;
    const answering = begin("held").then((begun) => {
      isAnswered = true;
      return begun;
    });
    await hold.reached;
    assert.ok(!isAnswered);
    hold.release();
    assert.ok((await answering).state);
  });
});

describe("the older server", () => {
  let older;
  before(async () => {
    older = await startOlder();
  }, LIMIT);
  after(() => older?.stop());

  test("asks an official client, and tells it of updates", LIMIT, async () => {
    const { client, heard } = await connectAnswering("one", older.url, "none");
    const asked = await client.callTool({ name: "ask", arguments: { tag: "direct" } });
    assert.equal(textOf(asked), "accept Ada on direct?");
    assert.equal(older.works("direct"), 1);
    await client.subscribeResource({ uri: "old://one" });
    assert.deepEqual(older.subscribedUris(), ["old://one"]);
    await eventually(() => older.listeners.size > 0, { what: "the client's stream" });
    older.update("old://one");
    await eventually(() => heard.updated.includes("old://one"), { what: "the update" });
    await client.unsubscribeResource({ uri: "old://one" });
    assert.deepEqual(older.subscribedUris(), []);
    await client.close();
  });

  test("lets a cut call be taken up by its last event id", LIMIT, async () => {
    const session = await openSession(older.url, "none", { capabilities: ABLE });
    const params = { name: "work", arguments: { tag: "cut", wait: true } };
    const call = await openCall(session, "tools/call", params, "cut");
    await call.begun();
    await call.cut();
    older.release("cut");
    assert.equal(textOf((await call.settle()).result), "worked cut");
    assert.deepEqual([older.works("cut"), older.taken], [1, [call.ids[0]]]);
  });
});
