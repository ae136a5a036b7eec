import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { getElementById: () => ({}) };
globalThis.sessionStorage = { getItem: () => null };
const { previousBundle } = await import("../../../../serve/dashboard/static/controls.js");
const { requestId } = await import("../../../../serve/dashboard/static/api.js");

const chosen = (bundle_id, symbol = "A") => ({ kind: "model", symbol, bundle_id });

test("rolling back leads to the bundle before the one of now", () => {
  assert.equal(previousBundle([], "A"), null);
  assert.equal(previousBundle([chosen("1")], "A"), null);
  const entries = [chosen("1"), chosen("9", "B"), { kind: "control" }, chosen("2"), chosen("2")];
  assert.equal(previousBundle(entries, "A").bundle_id, "1");
  assert.equal(previousBundle([...entries, chosen("1")], "A").bundle_id, "2");
});

test("no two orders have the same id", () => {
  const ids = new Set(Array.from({ length: 100 }, requestId));
  assert.equal(ids.size, 100);
  assert.match([...ids][0], /^page-[0-9a-f]{32}$/);
});
