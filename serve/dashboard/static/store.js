// What the page knows of one symbol, live or of a past day. Its size is bounded: a page may stay open for weeks.

import { reason, time } from "./format.js";

export const KEPT = { bars: 1500, decisions: 300, fills: 300, gaps: 300 };

/** Add new entries to a list that is sorted by `key`; an entry with a known id replaces the old one. */
export function merged(list, added, { id, key, limit }) {
  const known = new Map(list.map(entry => [id(entry), entry]));
  for (const entry of added) known.set(id(entry), entry);
  const found = [...known.values()].sort((a, b) => key(a) - key(b));
  return found.length > limit ? found.slice(found.length - limit) : found;
}

const BAR = { id: bar => bar[0], key: bar => bar[0], limit: KEPT.bars };
const DECISION = { id: one => one.decision_id, key: one => one.at_s, limit: KEPT.decisions };
const FILL = { id: one => one.fill_id, key: one => one.time_s, limit: KEPT.fills };

export class LiveStore {
  constructor(view) {
    this.symbol = view.symbol;
    this.bars = view.bars;
    this.gaps = view.gaps;
    this.decisions = view.decisions;
    this.fills = view.fills;
    this.status = view.status;
    this.health = null;
    this.monitors = null;
  }

  /** Take an event; return what of the page it changes. */
  apply({ name, data }) {
    if (data.symbol !== undefined && data.symbol !== this.symbol) return [];
    if (name === "bars") {
      this.bars = merged(this.bars, data.bars, BAR);
      return ["bars"];
    }
    if (name === "gaps") {
      const before = this.gaps.filter(gap => gap.from_s < data.first_s);
      this.gaps = [...before, ...data.gaps].slice(-KEPT.gaps);
      return ["gaps"];
    }
    if (name === "decision") {
      this.decisions = merged(this.decisions, [data], DECISION);
      return ["decisions"];
    }
    if (name === "fills") {
      this.fills = merged(this.fills, data.fills, FILL)
        .map(fill => (data.busts.includes(fill.fill_id) ? { ...fill, busted: true } : fill));
      return ["decisions"];
    }
    if (name === "status" || name === "health" || name === "monitors") {
      this[name] = data;
      return [name];
    }
    return name === "audit" ? ["audit"] : [];
  }

  get own() {
    return this.status.symbols[this.symbol];
  }
}

/** The bar on which something is drawn: its own, or the last that had closed before it. */
export function barOf(bars, seconds, barSeconds) {
  let low = 0;
  let high = bars.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bars[middle][0] + barSeconds <= seconds + 1) low = middle + 1;
    else high = middle;
  }
  return low > 0 ? bars[low - 1][0] : null;
}

/** Return the open position's entry, stop and target as the decisions and fills known here tell. */
export function levelsOf({ decisions, fills, position, entryPrice }) {
  if (!position) return null;
  const side = position > 0 ? "BUY" : "SELL";
  const opened = fills.filter(fill => fill.side === side && !fill.busted).at(-1);
  const decision = opened && decisions.find(one => one.decision_id === opened.decision_id);
  const order = decision?.order;
  return { entry: entryPrice ?? opened?.price ?? null, stop: order?.stop_loss ?? null,
    target: order?.take_profit ?? null };
}

/** Return what an operator has to know first, the worst on top: level, code and text. */
export function conditions({ own, total, connection, lostAt, health, zone = "UTC", past = null }) {
  const found = [];
  const add = (level, code, text) => found.push({ level, code, text });
  if (connection === "lost") {
    add("critical", "connection", `No connection to the service: the page shows what was known at ${
      time(lostAt, zone, "seconds")}.`);
  }
  if (!own) return found;
  if (own.hold === "state_unavailable") {
    add("critical", "store", "The state store cannot be read or written: every decision holds.");
  } else if (own.hold === "model_loading") {
    add("warning", "model", "The chosen bundle is being loaded: decisions hold.");
  }
  if (own.control === "flatten") add("warning", "flatten", "Flattened by an operator: the position is closed, then no orders.");
  if (own.control === "pause") add("warning", "pause", "Paused by an operator: no orders.");
  if (own.control === "force_hold") add("warning", "force_hold", "Hold forced by an operator: no orders.");
  if (own.halted) add("critical", "halted", "The session is halted: its drawdown limit was reached.");
  if (total?.halted) add("critical", "total", "A limit over the sum of all accounts halted trading.");
  if (!own.bars) add("warning", "no_bars", "No bars yet: decisions by symbol need POST /bars.");
  else if (!own.ready) add("warning", "few_bars", `${own.bars} bars so far: too few for decisions by symbol.`);
  else if (own.hold && !["state_unavailable", "model_loading"].includes(own.hold)) {
    add("warning", own.hold, `Decisions hold: ${reason(own.hold)}.`);
  }
  if (health?.status === "critical") add("critical", "health", "The service's health is critical: see Health.");
  if (past) add("note", "past", `${past} is shown: health, controls and what is said above are of now.`);
  const order = ["critical", "warning", "note"];
  return found.sort((a, b) => order.indexOf(a.level) - order.indexOf(b.level));
}
