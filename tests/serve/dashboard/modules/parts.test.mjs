import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../../../../serve/dashboard/static/format.js";
import { DayStore } from "../../../../serve/dashboard/static/replay.js";

test("prices have the decimals of the tick", () => {
  assert.deepEqual([1, 0.25, 0.01, 0.00005, 0.5].map(format.decimals), [0, 2, 2, 5, 1]);
  assert.equal(format.price(1234.5, 0.01), "1,234.50");
  assert.equal(format.price(null, 0.01), "-");
});

test("money, shares, durations and times are said as people say them", () => {
  assert.deepEqual([format.dollars(-1234.4), format.dollars(null), format.percent(0.0123)], ["-$1,234", "-", "1.23%"]);
  assert.deepEqual([5, 600, 7200, 900000].map(format.duration), ["5 s", "10 min", "2 h", "10 days"]);
  assert.equal(format.time(1772409600, "UTC", "seconds"), "00:00:00");
  assert.equal(format.time(1772409600, "America/New_York", "moment"), "Mar 1, 19:00");
});

test("every reason has its words, also one of a later version", () => {
  assert.equal(format.reason("entry_wait"), "entry agent waits");
  assert.equal(format.reason("of_tomorrow"), "of tomorrow");
});

test("an order is one line", () => {
  const order = { side: "BUY", quantity: 12, stop_loss: 9, take_profit: 12 };
  assert.equal(format.order({ order }, 0.5), "BUY 12 (stop 9.0, target 12.0)");
  assert.equal(format.order({ order: { ...order, stop_loss: null } }, 0.5), "BUY 12 (close)");
  assert.equal(format.order({ order: null }, 0.5), "");
});

const bar = n => [300 * n, 1, 2, 0.5, 1, 10];
const decision = (n, more = {}) => ({ decision_id: `d${n}`, at_s: 300 * n + 301, bar_s: 300 * n, order: null,
  equity: 99, session_peak: 100, position: 0, halted: false, ...more });
const day = () => new DayStore({ symbol: "A", first_s: 900, bar_seconds: 300, bars: [1, 2, 3, 4, 5, 6].map(bar),
  gaps: [{ from_s: 600, to_s: 1500 }, { from_s: 1500, to_s: 1800 }],
  decisions: [decision(3), decision(5, { order: { side: "BUY" } }), decision(4, { bar_s: null })],
  fills: [{ fill_id: "f", time_s: 1800 }] });

test("a day shows what was known at each of its bars", () => {
  const found = day();
  assert.equal(found.length, 4);
  assert.deepEqual([found.time, found.bars.length, found.decisions.length, found.fills.length], [900, 3, 1, 0]);
  assert.deepEqual(found.gaps, [{ from_s: 600, to_s: 900 }]);
  found.go(found.nextOrder());
  assert.deepEqual([found.time, found.decisions.map(one => one.decision_id)], [1500, ["d3", "d4", "d5"]]);
  assert.equal(found.fills.length, 1);
  assert.equal(found.nextOrder(), null);
  assert.deepEqual(found.gaps.map(gap => gap.to_s), [1500, 1500]);
  found.go(99);
  assert.equal(found.index, 3);
  found.go(-5);
  assert.equal(found.index, 0);
  assert.equal(found.account().drawdown, 0.01);
});

test("a day without bars shows nothing", () => {
  const found = new DayStore({ symbol: "A", first_s: null, bar_seconds: 300, bars: [], gaps: [], decisions: [], fills: [] });
  found.go(1);
  assert.deepEqual([found.length, found.time, found.bars, found.decisions, found.account()], [0, 0, [], [], null]);
});
