// A legacy client on a modern server that asks: `input_required` becomes questions on the stream of the client's call,
// and the answers go round with the server's own state.
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { startAsking } from "./fixtures/asking_modern.mjs";
import { openCall, questionsOf, readEvents } from "./fixtures/asking_modern_call.mjs";
import { ABLE, answerTo, connectAnswering, ROOTS, SAMPLED } from "./fixtures/asking_modern_clients.mjs";
import { ODD_KEYS, SCRIPTS } from "./fixtures/asking_modern_scripts.mjs";
import { startSdkAsking } from "./fixtures/asking_modern_sdk.mjs";
import { textOf } from "./fixtures/clients.mjs";
import { openSession } from "./fixtures/rpc.mjs";
import { openWorld } from "./fixtures/world.mjs";

const LIMIT = { timeout: 30_000 };
const CALL_MS = 10_000;
const CAPABILITIES = "io.modelcontextprotocol/clientCapabilities";
const upstreams = {};
let sdk;
let world;
let token;

before(async () => {
  for (const id of ["one", "two"]) upstreams[id] = await startAsking();
  sdk = await startSdkAsking();
  const servers = { one: { url: upstreams.one.url }, two: { url: upstreams.two.url }, sdk: { url: sdk.url } };
  world = await openWorld({ servers });
  token = await world.token();
}, LIMIT);
after(async () => {
  for (const upstream of Object.values(upstreams)) upstream.releaseAll();
  await world?.stop();
  await Promise.all([...Object.values(upstreams), sdk].map((upstream) => upstream?.stop()));
});
// Whatever a test looks at: the servers saw nothing that a correct client does not do.
afterEach(() => {
  for (const upstream of Object.values(upstreams)) assert.deepEqual(upstream.faults.splice(0), []);
});

const params = (name, input, meta) => ({ name, arguments: input, ...(meta ? { _meta: meta } : {}) });
const saidBy = (result) => JSON.parse(textOf(result));
const upTo = (last) => Array.from({ length: last + 1 }, (_, step) => step);

for (const kind of ["one", "legacy"]) {
  describe(`an official ${kind === "one" ? "1.x client" : "2.x client in legacy mode"}`, () => {
    let client;
    let heard;
    before(async () => {
      ({ client, heard } = await connectAnswering(kind, world.url(), token, { who: "Ada" }));
      await client.listTools();
    }, LIMIT);
    after(() => client?.close());

    const call = (name, input = {}, options = {}) => {
      const how = { timeout: CALL_MS, ...options };
      return kind === "one"
        ? client.callTool(params(name, input), undefined, how)
        : client.callTool(params(name, input), how);
    };

    test("answers two servers at once, each its own questions", LIMIT, async () => {
      const tag = `${kind}-parallel`;
      const results = await Promise.all(
        ["one", "two"].flatMap((id) =>
          ["three", "form"].map((name) => call(`${id}_${name}`, { tag: `${tag}-${id}-${name}`, as: "sse" })),
        ),
      );
      for (const [index, id] of ["one", "two"].entries()) {
        const [three, form] = results.slice(index * 2).map(saidBy);
        assert.equal(three.tag, `${tag}-${id}-three`);
        for (const round of [1, 2, 3]) {
          assert.equal(three.answers[`step${round}`].content.name, `Ada on Round ${round}?`);
        }
        assert.equal(form.answers.name.content.name, "Ada on Who are you?");
        assert.deepEqual(upstreams[id].steps(`${tag}-${id}-three`), upTo(3));
        assert.deepEqual(upstreams[id].steps(`${tag}-${id}-form`), upTo(1));
      }
    });

    for (const name of Object.keys(SCRIPTS)) {
      for (const as of ["json", "sse"]) {
        test(`gets through "${name}" over ${as}`, LIMIT, async () => {
          const tag = `${kind}-${name}-${as}`;
          const said = saidBy(await call(`one_${name}`, { tag, as }));
          const keys = SCRIPTS[name].flatMap((round) => Object.keys(round.ask ?? {}));
          assert.deepEqual(Object.keys(said.answers).sort(), keys.toSorted());
          assert.deepEqual(upstreams.one.steps(tag), upTo(SCRIPTS[name].length));
        });
      }
    }

    test("answers every kind of question in its own form", LIMIT, async () => {
      const before = {
        elicited: heard.elicited.length,
        sampled: heard.sampled.length,
        roots: heard.rootsAsked,
      };
      const { answers } = saidBy(await call("one_many", { tag: `${kind}-kinds` }));
      const [form, link, words, dirs] = ODD_KEYS.map((key) => answers[key]);
      assert.deepEqual(form, { action: "accept", content: { name: "Ada on First?" } });
      assert.equal(link.action, "accept");
      assert.deepEqual(words, SAMPLED);
      assert.deepEqual(dirs.roots, ROOTS);
      const [first, second] = heard.elicited
        .slice(before.elicited)
        .sort((a, b) => (a.message < b.message ? -1 : 1));
      assert.deepEqual(first.requestedSchema.required, ["name"]);
      assert.equal(second.url, "https://pay.example/checkout?order=7&x=%22");
      assert.equal(heard.sampled.length, before.sampled + 1);
      assert.equal(heard.sampled.at(-1).maxTokens, 77);
      assert.equal(heard.rootsAsked, before.roots + 1);
    });

    test("reads a resource and gets a prompt that ask", LIMIT, async () => {
      const read = await client.readResource({ uri: `ask://form/read${kind}` });
      assert.match(read.contents[0].text, /Ada on Who are you/);
      assert.deepEqual(upstreams.one.steps(`read${kind}`), upTo(1));
      const prompt = await client.getPrompt({ name: "two_greet", arguments: { tag: `prompt-${kind}` } });
      assert.match(prompt.messages[0].content.text, /Ada on Who are you/);
      assert.deepEqual(upstreams.two.steps(`prompt-${kind}`), upTo(1));
    });

    test("hears a server's progress of every round under its own token", LIMIT, async () => {
      const seen = [];
      const onprogress = ({ progress }) => seen.push(progress);
      await call("one_mixed", { tag: `${kind}-progress`, as: "sse", progress: 2 }, { onprogress });
      assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8].slice(0, seen.length));
      assert.equal(seen.length, 8, "two of each of four rounds");
    });

    test("gets through a server made with the official SDK", LIMIT, async () => {
      const began = sdk.calls.length;
      const booked = await call("sdk_book", { room: `room ${kind}` });
      assert.equal(textOf(booked), `booked room ${kind} for Ada on Who books room ${kind}?`);
      assert.equal(sdk.booked.filter((each) => each.startsWith(`room ${kind} `)).length, 1);
      assert.match(textOf(await call("sdk_survey")), /^Ada on Who\?: sampled words, file:/);
      const seen = [];
      const reported = await call("sdk_report", {}, { onprogress: ({ progress }) => seen.push(progress) });
      assert.equal(textOf(reported), "reported by Ada on Who reports?");
      assert.deepEqual(seen, [1, 2]);
      const rounds = sdk.calls.slice(began);
      assert.equal(rounds.length, 7, "three rounds, two, two");
      assert.equal(
        new Set(rounds.map(({ id }) => JSON.stringify(id))).size,
        7,
        "each request has its own id",
      );
    });
  });
}

describe("on the wire", () => {
  let session;
  before(async () => {
    session = await openSession(world.url(), token, { capabilities: ABLE });
  }, LIMIT);

  async function answerAll(questions) {
    for (const question of questions) {
      const { status, text } = await session.answer(question.id, answerTo(question, "Bo"));
      assert.deepEqual([status, text], [202, ""]);
    }
  }

  test("a question is a request of the client's own era, on the stream of its call", LIMIT, async () => {
    const call = await openCall(session, "tools/call", params("one_many", { tag: "wire" }), "w-1");
    assert.equal(call.status, 200);
    const questions = await questionsOf(
      call,
      4,
      ({ method, params: asked }) => `${method} ${asked?.mode ?? ""}`,
    );
    assert.ok(call.lastId, "the stream can be taken up again");
    assert.equal(new Set([...questions.values()].map(({ id }) => id)).size, 4);
    for (const question of questions.values()) assert.equal(question.jsonrpc, "2.0");
    const asked = (what) => questions.get(what)?.params;
    const [{ ask }] = SCRIPTS.many;
    assert.deepEqual(asked("elicitation/create form"), ask[ODD_KEYS[0]].params);
    assert.deepEqual(asked("sampling/createMessage "), ask[ODD_KEYS[2]].params);
    assert.ok(questions.has("roots/list "));
    // 2025-11-25 demands an id that 2026-07-28 no longer has.
    const { elicitationId, ...link } = asked("elicitation/create url");
    assert.deepEqual(link, ask[ODD_KEYS[1]].params);
    assert.ok(typeof elicitationId === "string" && elicitationId.length > 0, "a link has an elicitationId");
    await answerAll(questions.values());
    const { result } = await call.answer();
    assert.equal(result.resultType, undefined, "what only the server's era has does not leak");
    assert.equal(result.requestState, undefined);
    assert.deepEqual(upstreams.one.steps("wire"), [0, 1]);
  });

  test("nothing goes to the server before all questions of a round are answered", LIMIT, async () => {
    const call = await openCall(session, "tools/call", params("one_pair", { tag: "both" }), "w-2");
    const questions = await questionsOf(call, 2);
    await answerAll([questions.get("Right?")]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(upstreams.one.steps("both"), [0]);
    await answerAll([questions.get("Left?")]);
    const { answers } = saidBy((await call.answer()).result);
    assert.equal(answers.left.content.name, "Bo on Left?");
    assert.equal(answers.right.content.name, "Bo on Right?");
  });

  test("each round carries the server's state, the same arguments, and a new id", LIMIT, async () => {
    const input = { tag: "states", as: "json" };
    const meta = {
      progressToken: "mine",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    const call = await openCall(session, "tools/call", params("one_three", input, meta), "w-3");
    for (const round of [1, 2, 3]) {
      const question = await call.question();
      assert.equal(question.params.message, `Round ${round}?`);
      await answerAll([question]);
    }
    assert.ok((await call.answer()).result);
    const rounds = upstreams.one.roundsOf("states");
    assert.deepEqual(
      rounds.map(({ step }) => step),
      [0, 1, 2, 3],
    );
    for (const [step, round] of rounds.entries()) {
      assert.deepEqual(round.params.arguments, input);
      assert.equal(round.params._meta.traceparent, meta.traceparent);
      assert.equal(round.requestState, rounds[step - 1]?.sentState);
      const wanted = step === 0 ? undefined : [`step${step}`];
      assert.deepEqual(round.inputResponses && Object.keys(round.inputResponses), wanted);
      assert.deepEqual(round.capabilities, ABLE, "the client's own capabilities");
    }
    assert.equal(new Set(rounds.map(({ id }) => JSON.stringify(id))).size, 4);
  });

  test("answers arrive as the client gave them, whatever is in them", LIMIT, async () => {
    const answer = {
      action: "accept",
      content: { name: 'Zoë "x" \\ \u2028 </script> 😀', n: -0.5e-7, yes: false, list: ["a", ""] },
      _meta: { "example.com/note": { deep: [1, { two: null }] } },
    };
    const call = await openCall(session, "tools/call", params("one_form", { tag: "verbatim" }), "w-4");
    assert.equal((await session.answer((await call.question()).id, answer)).status, 202);
    await call.answer();
    const { inputResponses } = upstreams.one.roundsOf("verbatim")[1];
    assert.deepEqual(inputResponses.name.content, answer.content);
    assert.equal(inputResponses.name.action, "accept");
  });

  for (const action of ["decline", "cancel"]) {
    test(`"${action}" is an answer too, and the server's to judge`, LIMIT, async () => {
      const call = await openCall(session, "tools/call", params("one_form", { tag: action }), `w-${action}`);
      await session.answer((await call.question()).id, { action });
      const { answers } = saidBy((await call.answer()).result);
      assert.equal(answers.name.action, action);
      assert.deepEqual(upstreams.one.steps(action), [0, 1]);
    });
  }

  for (const [end, check] of [
    ["isError", ({ result }) => assert.equal(result.isError, true)],
    [
      "rpcError",
      ({ error }) =>
        assert.deepEqual([error.code, error.message, error.data.why], [-32050, "broken", "test"]),
    ],
  ]) {
    test(`a call that ends in ${end} after a round says so`, LIMIT, async () => {
      const call = await openCall(session, "tools/call", params("one_form", { tag: end, end }), `w-${end}`);
      await answerAll([await call.question()]);
      check(await call.answer());
    });
  }

  test("a state without a question is passed back without asking anybody", LIMIT, async () => {
    const call = await openCall(session, "tools/call", params("one_patience", { tag: "pause" }), "w-5");
    assert.ok((await call.answer()).result);
    assert.equal(
      call.messages.filter(({ method }) => method && method !== "notifications/progress").length,
      0,
    );
    assert.deepEqual(upstreams.one.steps("pause"), [0, 1, 2]);
  });

  test("one session's calls, each with its questions, do not wait for each other", LIMIT, async () => {
    const calls = [];
    for (const n of [1, 2, 3]) {
      calls.push(
        await openCall(session, "tools/call", params("one_form", { tag: `side-${n}` }), `side-${n}`),
      );
    }
    for (const n of [3, 1, 2]) {
      const call = calls[n - 1];
      const question = await call.question();
      await session.answer(question.id, { action: "accept", content: { name: `n${n}` } });
      const { answers, tag } = saidBy((await call.answer()).result);
      assert.deepEqual([tag, answers.name.content.name], [`side-${n}`, `n${n}`]);
    }
  });

  test("while a call asks, other calls of the session are answered", LIMIT, async () => {
    const call = await openCall(session, "tools/call", params("one_form", { tag: "open" }), "w-6");
    const question = await call.question();
    const { answer } = await session.ask("tools/call", params("two_none", { tag: "meanwhile" }), {
      ms: 5_000,
    });
    assert.equal(saidBy(answer.result).tag, "meanwhile");
    await answerAll([question]);
    await call.answer();
  });

  test("questions stay off the client's own stream while the call's is there", LIMIT, async () => {
    const own = readEvents(await session.listen());
    const call = await openCall(session, "tools/call", params("one_form", { tag: "own" }), "w-7");
    await answerAll([await call.question()]);
    await call.answer();
    const stray = await own
      .message(({ method }) => method === "elicitation/create", 500)
      .catch(() => undefined);
    assert.equal(stray, undefined);
    await own.cut();
  });

  for (const revision of ["2025-06-18", "2025-11-25"]) {
    test(`a client of ${revision} is asked`, LIMIT, async () => {
      const older = await openSession(world.url(), token, { revision, capabilities: { elicitation: {} } });
      const tag = `revision-${revision}`;
      const call = await openCall(older, "tools/call", params("one_form", { tag }), tag);
      const question = await call.question();
      await older.answer(question.id, answerTo(question, "Old"));
      assert.equal(saidBy((await call.answer()).result).answers.name.content.name, "Old on Who are you?");
      assert.deepEqual(upstreams.one.roundsOf(tag)[0].params._meta[CAPABILITIES], { elicitation: {} });
    });
  }
});
