import assert from "node:assert/strict";
import { test } from "node:test";
import { barOf, conditions, KEPT, levelsOf, LiveStore, merged } from "../../../../serve/dashboard/static/store.js";

const bar = (n, close = 1) => [300 * n, 1, 2, 0.5, close, 10];
const view = () => ({ symbol: "A", bars: [bar(1), bar(2)], gaps: [], decisions: [], fills: [],
  status: { symbols: { A: { equity: 1 } } } });
const decision = (id, at, more = {}) => ({ decision_id: id, at_s: at, symbol: "A", ...more });

test("merged keeps the order, replaces what is known and forgets the oldest", () => {
  const keys = { id: one => one[0], key: one => one[0], limit: 3 };
  const list = merged([bar(1), bar(2)], [bar(4), bar(3), bar(2, 7)], keys);
  assert.deepEqual(list.map(one => one[0]), [600, 900, 1200]);
  assert.equal(list[0][4], 7);
});

test("a week of events leaves no more than what is kept", () => {
  const store = new LiveStore(view());
  for (let n = 3; n < 2100; n += 1) {
    store.apply({ name: "bars", data: { symbol: "A", bars: [bar(n)] } });
    store.apply({ name: "decision", data: decision(`d${n}`, 300 * n) });
    store.apply({ name: "fills", data: { symbol: "A", busts: [], fills: [{ fill_id: `f${n}`, time_s: 300 * n }] } });
    store.apply({ name: "gaps", data: { symbol: "A", first_s: 300 * n, gaps: [{ from_s: 300 * n }] } });
  }
  assert.deepEqual([store.bars.length, store.decisions.length, store.fills.length, store.gaps.length],
    [KEPT.bars, KEPT.decisions, KEPT.fills, KEPT.gaps]);
  assert.equal(store.bars.at(-1)[0], 300 * 2099);
});

test("an event says what it changes, one of another symbol nothing", () => {
  const store = new LiveStore(view());
  assert.deepEqual(store.apply({ name: "bars", data: { symbol: "A", bars: [bar(3)] } }), ["bars"]);
  assert.deepEqual(store.apply({ name: "bars", data: { symbol: "B", bars: [bar(9)] } }), []);
  assert.equal(store.bars.length, 3);
  assert.deepEqual(store.apply({ name: "status", data: { symbols: { A: { equity: 5 } } } }), ["status"]);
  assert.equal(store.own.equity, 5);
  assert.deepEqual(store.apply({ name: "audit", data: {} }), ["audit"]);
  assert.deepEqual(store.apply({ name: "unknown", data: {} }), []);
});

test("a repeated or revised bar replaces the one before", () => {
  const store = new LiveStore(view());
  store.apply({ name: "bars", data: { symbol: "A", bars: [bar(2, 9)] } });
  assert.deepEqual(store.bars.map(one => one[4]), [1, 9]);
});

test("gaps of the newest bars replace those from then on", () => {
  const store = new LiveStore({ ...view(), gaps: [{ from_s: 300, to_s: 900 }, { from_s: 600, to_s: 600 }] });
  store.apply({ name: "gaps", data: { symbol: "A", first_s: 600, gaps: [{ from_s: 600, to_s: 900 }] } });
  assert.deepEqual(store.gaps, [{ from_s: 300, to_s: 900 }, { from_s: 600, to_s: 900 }]);
});

test("a busted fill is marked", () => {
  const store = new LiveStore({ ...view(), fills: [{ fill_id: "x", time_s: 1 }] });
  store.apply({ name: "fills", data: { symbol: "A", fills: [], busts: ["x"] } });
  assert.equal(store.fills[0].busted, true);
});

test("something belongs to the last bar that had closed", () => {
  const bars = [bar(1), bar(2), bar(4)];
  assert.equal(barOf(bars, 599, 300), 300);
  assert.equal(barOf(bars, 598, 300), null);
  assert.equal(barOf(bars, 900, 300), 600);
  assert.equal(barOf(bars, 1499, 300), 1200);
  assert.equal(barOf([], 1499, 300), null);
});

test("the levels are those of the order that opened the position", () => {
  const order = { stop_loss: 9, take_profit: 12 };
  const decisions = [decision("a", 1, { order })];
  const fills = [{ fill_id: "1", side: "BUY", price: 10, decision_id: "a" }, { fill_id: "2", side: "SELL", price: 11 }];
  assert.deepEqual(levelsOf({ decisions, fills, position: 5, entryPrice: 10.5 }), { entry: 10.5, stop: 9, target: 12 });
  assert.deepEqual(levelsOf({ decisions, fills, position: -5, entryPrice: null }), { entry: 11, stop: null, target: null });
  assert.equal(levelsOf({ decisions, fills, position: 0 }), null);
});

const fine = { hold: null, control: "none", halted: false, bars: 400, ready: true };
const codes = (own, more = {}) => conditions({ own, connection: "live", ...more }).map(one => one.code);

test("every state has its line, the worst on top", () => {
  assert.deepEqual(codes(fine), []);
  assert.deepEqual(codes({ ...fine, control: "pause" }), ["pause"]);
  assert.deepEqual(codes({ ...fine, control: "force_hold" }), ["force_hold"]);
  assert.deepEqual(codes({ ...fine, control: "flatten", halted: true }), ["halted", "flatten"]);
  assert.deepEqual(codes({ ...fine, hold: "data_stale" }), ["data_stale"]);
  assert.deepEqual(codes({ ...fine, hold: "data_stale", bars: 0, ready: false }), ["no_bars"]);
  assert.deepEqual(codes({ ...fine, bars: 5, ready: false }), ["few_bars"]);
  assert.deepEqual(codes({ ...fine, hold: "model_loading" }), ["model"]);
  assert.deepEqual(codes({ ...fine, hold: "state_unavailable", control: "pause" }), ["store", "pause"]);
  assert.deepEqual(codes(fine, { total: { halted: true } }), ["total"]);
  assert.deepEqual(codes(fine, { health: { status: "critical" } }), ["health"]);
  assert.deepEqual(codes(fine, { connection: "lost", lostAt: 0, past: "2026-03-02" }), ["connection", "past"]);
  assert.deepEqual(codes(undefined, { connection: "lost", lostAt: 0 }), ["connection"]);
});
