// A past day, bar by bar: what the live page would have shown at each of its bars.

import { barOf } from "./store.js";

export class DayStore {
  constructor(day) {
    this.day = day;
    this.symbol = day.symbol;
    const first = day.bars.findIndex(bar => bar[0] === day.first_s);
    this.first = Math.max(0, first);
    this.index = 0;
    // each decision and fill on the bar that it belongs to, found once
    const place = seconds => barOf(day.bars, seconds, day.bar_seconds);
    this.placed = day.decisions.map(one => ({ one, bar: one.bar_s ?? place(one.at_s) }))
      .sort((a, b) => a.one.at_s - b.one.at_s);
    this.filled = day.fills.map(one => ({ one, bar: place(one.time_s) }));
  }

  /** How many bars of the day there are. */
  get length() {
    return this.day.first_s === null ? 0 : this.day.bars.length - this.first;
  }

  /** Go to a bar of the day. */
  go(index) {
    this.index = Math.max(0, Math.min(this.length - 1, index));
  }

  /** Return the index of the next bar with an order, null without one. */
  nextOrder() {
    const found = this.placed.filter(({ one, bar }) => one.order && bar > this.time)
      .map(({ bar }) => bar);
    if (!found.length) return null;
    const wanted = Math.min(...found);
    return this.day.bars.findIndex(bar => bar[0] === wanted) - this.first;
  }

  /** Open time of the bar that is shown last. */
  get time() {
    return this.length ? this.day.bars[this.first + this.index][0] : 0;
  }

  get bars() {
    return this.length ? this.day.bars.slice(0, this.first + this.index + 1) : [];
  }

  get gaps() {
    return this.day.gaps.filter(gap => gap.from_s <= this.time)
      .map(gap => ({ ...gap, to_s: Math.min(gap.to_s, this.time) }));
  }

  get decisions() {
    return this.placed.filter(({ bar }) => bar !== null && bar <= this.time).map(({ one }) => one);
  }

  get fills() {
    return this.filled.filter(({ bar }) => bar !== null && bar <= this.time).map(({ one }) => one);
  }

  /** The account as the last decision saw it. */
  account() {
    const last = this.decisions.at(-1);
    if (!last) return null;
    const peak = last.session_peak;
    return { equity: last.equity, session_peak: peak, position: last.position, halted: last.halted,
      drawdown: peak > 0 ? (peak - last.equity) / peak : 1 };
  }
}
