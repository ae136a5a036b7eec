import assert from "node:assert/strict";
import { test } from "node:test";
import { challengerFacts, driftLines, points } from "../../../../serve/dashboard/static/monitors.js";
import { LiveStore } from "../../../../serve/dashboard/static/store.js";

const drift = { profile: true, sessions: 7, alarms: 1, ratios: { inputs: 1.2, behavior: 0.8, outcomes: 0.1 }, words: "Drift: psi" };

test("without a monitor there is no drift to show, without a profile or a session it says so", () => {
  assert.equal(driftLines(undefined), null);
  assert.match(driftLines({ ...drift, profile: false }).text, /no profile/);
  assert.deepEqual(driftLines({ ...drift, sessions: 0 }), { text: "No whole session yet.", rows: [] });
});

test("each group of drift is shown against its threshold", () => {
  const { text, rows } = driftLines(drift);
  assert.equal(text, "Drift: psi");
  assert.deepEqual(rows.map(row => [row.name, row.tone, row.label]), [
    ["inputs", "bad", "120% of the threshold"],
    ["decisions", "warn", "80% of the threshold"],
    ["results", "good", "10% of the threshold"],
  ]);
});

test("differences are in basis points", () => {
  assert.deepEqual([0.00012345, -0.01, 0, null].map(points), ["+1.23 bp", "-100 bp", "0 bp", "-"]);
});

test("a challenger is described also before the first session", () => {
  const one = { decisions: 1200, unanswered: 0, agreement: null, sessions: 0, mean: null, low: null, high: null, confidence: 0.975 };
  assert.deepEqual(challengerFacts(one).map(([, value]) => value), ["1,200", "-", "0", "-", "-"]);
  const found = challengerFacts({ ...one, unanswered: 3, agreement: 0.5, sessions: 2, mean: 0.001, low: -0.02, high: 0.02 });
  assert.deepEqual(found.map(([, value]) => value), ["1,200, 3 not", "50%", "2", "+10 bp", "-200 bp and +200 bp"]);
  assert.equal(found[4][0], "between (97.5%)");
});

test("the page keeps what it is told of the monitors", () => {
  const store = new LiveStore({ symbol: "A", bars: [], gaps: [], decisions: [], fills: [], status: {} });
  assert.deepEqual(store.apply({ name: "monitors", data: { drift: { A: drift } } }), ["monitors"]);
  assert.equal(store.monitors.drift.A, drift);
});
