import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser, follow, LONGEST_PAUSE_MS } from "../../../../serve/dashboard/static/events.js";

const text = "retry: 500\n\nid: 1-2\nevent: bars\ndata: {\"a\": 1}\n\n: beat\n\nevent: status\ndata: {}\n\n";

test("events are read whatever pieces they come in", () => {
  for (let size = 1; size < text.length; size += 1) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(found, [{ name: "bars", data: { a: 1 } }, { name: "status", data: {} }]);
    assert.deepEqual([parser.lastId, parser.retryMs], ["1-2", 500]);
  }
});

test("what is not complete waits", () => {
  const parser = new EventParser();
  assert.deepEqual(parser.push("event: bars\ndata: {}\n"), []);
  assert.deepEqual(parser.push("\n"), [{ name: "bars", data: {} }]);
});

const answer = (...parts) => ({ body: new Response(parts.join("")).body });

/** Follow answers one after the other; a failure is an error to throw. */
async function followed(answers, { silenceMs } = {}) {
  const asked = [];
  const events = [];
  const states = [];
  const pauses = [];
  const stop = new AbortController();
  const end = await follow({
    cursor: "0-0", signal: stop.signal, silenceMs,
    open: async lastId => {
      asked.push(lastId);
      const next = answers.shift();
      if (next === undefined) { stop.abort(); throw new Error("no more"); }
      if (next instanceof Error) throw next;
      return next;
    },
    onEvent: event => events.push(event.name),
    onState: state => states.push(state),
    wait: async ms => { pauses.push(ms); },
  });
  return { asked, events, states, pauses, end };
}

test("after a cut the stream goes on after the last event", async () => {
  const found = await followed([
    answer("retry: 100\n\n", "id: 3-1\nevent: bars\ndata: {}\n\n"),
    new Error("cut"),
    new Error("cut"),
    answer("id: 4-1\nevent: bars\ndata: {}\n\n"),
  ]);
  assert.deepEqual(found.asked, ["0-0", "3-1", "3-1", "3-1", "4-1"]);
  assert.deepEqual(found.events, ["bars", "bars"]);
  assert.deepEqual(found.states.slice(0, 2), ["live", "lost"]);
  assert.deepEqual(found.pauses.slice(0, 3), [100, 200, 400]);
  assert.equal(found.end, "ended");
});

test("pauses have a limit", async () => {
  const found = await followed(Array.from({ length: 12 }, () => new Error("cut")));
  assert.equal(Math.max(...found.pauses), LONGEST_PAUSE_MS);
});

test("a reset ends it, so that the view is asked again", async () => {
  const found = await followed([answer("event: reset\ndata: {}\n\n")]);
  assert.deepEqual([found.end, found.events], ["reset", []]);
});

test("a refusal is not tried again", async () => {
  const refusal = Object.assign(new Error("token"), { status: 401 });
  await assert.rejects(followed([refusal]), { status: 401 });
});

test("a silent connection counts as cut", async () => {
  const stop = new AbortController();
  let opened = 0;
  const end = follow({
    cursor: "", signal: stop.signal, silenceMs: 20, onEvent: () => {}, onState: () => {},
    open: (lastId, signal) => new Promise((done, fail) => {
      opened += 1;
      if (opened === 2) stop.abort();
      signal.addEventListener("abort", () => fail(new Error("aborted")));
      if (signal.aborted) fail(new Error("aborted"));
    }),
    wait: async () => {},
  });
  assert.equal(await end, "ended");
  assert.equal(opened, 2);
});
