// The panels beside the chart: account, health, symbols, decisions, and what to know first.

import { byId, el, facts, fill, meter, setText, table } from "./dom.js";
import { AGENTS, dollars, duration, order, percent, plain, price, reason, score, shortId, time } from "./format.js";

export function showConditions(found) {
  const holder = byId("conditions");
  const key = JSON.stringify(found);
  if (holder.dataset.shown === key) return;
  holder.dataset.shown = key;
  fill(holder, ...found.map(({ level, code, text }) =>
    el("p", { className: `condition ${level}`, "data-code": code }, text)));
}

const tone = (share, limit) => (share >= limit ? "bad" : share > limit / 2 ? "warn" : "good");

/** Show an account against its limit; `total` is the sum of several. */
export function showAccount(account, { tick, total, note }) {
  const holder = byId("account").lastElementChild;
  if (!account) {
    fill(holder, el("p", {}, note ?? "No account yet."));
    return;
  }
  const limit = account.drawdown_limit;
  const drawdown = limit
    ? meter(account.drawdown / limit, tone(account.drawdown, limit), `${percent(account.drawdown)} of ${percent(limit, 1)}`)
    : percent(account.drawdown);
  const side = account.position > 0 ? "long" : account.position < 0 ? "short" : "";
  const held = account.position
    ? `${side} ${plain(Math.abs(account.position))}${account.entry_price ? ` at ${price(account.entry_price, tick)}` : ""}`
    : "flat";
  const pairs = [
    ["position", held],
    ["equity", dollars(account.equity)],
    ["session's peak", dollars(account.session_peak)],
    ["session's drawdown", drawdown],
  ];
  if (account.levels) {
    pairs.push(["stop / target", `${price(account.levels.stop, tick)} / ${price(account.levels.target, tick)}`]);
  }
  if (account.control && account.control !== "none") pairs.push(["operator's order", account.control.replace("_", " ")]);
  if (total) {
    const sum = total.drawdown_limit
      ? meter(total.drawdown / total.drawdown_limit, tone(total.drawdown, total.drawdown_limit),
        `${percent(total.drawdown)} of ${percent(total.drawdown_limit, 1)}`)
      : percent(total.drawdown);
    pairs.push(["all symbols: equity", dollars(total.equity)], ["all symbols: drawdown", sum]);
  }
  if (account.bundle_id) pairs.push(["bundle", el("code", { title: account.bundle_id }, shortId(account.bundle_id))]);
  fill(holder, facts(pairs), note ? el("p", { className: "hint" }, note) : null);
}

export function showHealth(health, own, now) {
  const holder = byId("health").lastElementChild;
  if (!health) {
    fill(holder, el("p", {}, "Not known yet."));
    return;
  }
  const { components, latency, metrics, alerts, status } = health;
  const names = Object.keys(components);
  const due = own?.due_s ? own.due_s - now : null;
  const total = latency.total;
  const pairs = [
    ["latency p50 / p95", total.p50 === null ? "-" : `${total.p50.toFixed(1)} / ${total.p95.toFixed(1)} ms (target ${plain(total.target)})`],
    ["decisions in the last hour", String(metrics.decisions_last_hour)],
    ["next bar closes", due === null ? "-" : due >= 0 ? `in ${duration(due)}` : `overdue by ${duration(-due)}`],
    ["accuracy fvg / momentum / entry", AGENTS.map(agent => {
      const value = components.agents.accuracy[agent];
      return value === null ? "-" : percent(value, 0);
    }).join(" / ")],
  ];
  fill(holder,
    el("p", { className: `status ${status}` }, status),
    el("ul", { className: "lamps", "aria-label": "components" }, ...names.map(name =>
      el("li", { className: components[name].status }, `${name}: ${components[name].status}`))),
    facts(pairs),
    alerts.length
      ? el("ul", { className: "alerts", "aria-label": "alerts" }, ...alerts.map(alert =>
        el("li", { className: alert.severity }, `${alert.severity}: ${alert.component}: ${alert.message}`)))
      : el("p", { className: "hint" }, "No alerts."));
}

export function showSymbols(status, chosen, onChoose) {
  const names = Object.keys(status.symbols);
  byId("symbols").hidden = names.length < 2;
  if (names.length < 2) return;
  const rows = names.map(name => {
    const one = status.symbols[name];
    const pick = el("button", { type: "button", className: "link" }, name);
    if (name === chosen) pick.setAttribute("aria-current", "true");
    pick.addEventListener("click", () => onChoose(name));
    const state = one.halted ? "halted" : one.control !== "none" ? one.control.replace("_", " ")
      : one.hold ? reason(one.hold) : "trading";
    return [pick, state, plain(one.position), dollars(one.equity), percent(one.drawdown)];
  });
  fill(byId("symbols").lastElementChild, table("Symbols", ["symbol", "state", "position", "equity", "drawdown"], rows));
}

const SHOWN = 100;

/** Show the newest decisions, the latest on top. One row is in the order of the tab key. */
export function showDecisions(decisions, { tick, zone, barSeconds, ordersOnly }) {
  const rows = byId("decision-rows");
  const wanted = (ordersOnly ? decisions.filter(one => one.order) : decisions).slice(-SHOWN).reverse();
  const focused = rows.contains(document.activeElement) ? document.activeElement.dataset.id : null;
  const kept = new Map([...rows.children].map(row => [row.dataset.id, row]));
  const made = wanted.map(one => kept.get(one.decision_id) ?? decisionRow(one, { tick, zone, barSeconds }));
  if (made.length !== rows.children.length || made.some((row, i) => rows.children[i] !== row)) {
    rows.replaceChildren(...made);
    if (focused) [...rows.children].find(row => row.dataset.id === focused)?.focus();
  }
  [...rows.children].forEach(row => { row.tabIndex = -1; });
  const current = [...rows.children].find(row => row.dataset.id === focused) ?? rows.firstElementChild;
  if (current) current.tabIndex = 0;
  byId("no-decisions").hidden = made.length > 0;
  setText(byId("no-decisions"), ordersOnly && decisions.length ? "No orders among the last decisions." : "No decisions yet.");
}

function decisionRow(one, { tick, zone, barSeconds }) {
  const action = one.execute ? one.action : "hold";
  const vote = agent => `${one.votes[agent].label} ${Math.round(100 * one.votes[agent].confidence)}%`;
  const cells = [
    one.bar_s === null ? time(one.at_s, zone, "seconds") : time(one.bar_s + barSeconds, zone), el("span", { className: `action ${action}` }, action),
    reason(one.reason), score(one.confidence), ...AGENTS.map(vote), order(one, tick),
  ];
  const row = el("tr", { tabIndex: -1, "data-id": one.decision_id, className: one.order ? "order" : "",
    "aria-haspopup": "dialog" },
    ...cells.map(cell => el("td", {}, cell)));
  row.title = `decided ${time(one.at_s, zone, "moment")}`;
  return row;
}

/** Move through the rows by keyboard; Enter and a click choose one. */
export function listenToDecisions(onChoose) {
  const rows = byId("decision-rows");
  const move = (row, key) => {
    const wanted = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling,
      Home: rows.firstElementChild, End: rows.lastElementChild }[key];
    if (!wanted) return;
    row.tabIndex = -1;
    wanted.tabIndex = 0;
    wanted.focus();
  };
  rows.addEventListener("keydown", event => {
    const row = event.target.closest("tr");
    if (!row) return;
    if (event.key === "Enter" || event.key === " ") onChoose(row.dataset.id);
    else if (["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) move(row, event.key);
    else return;
    event.preventDefault();
  });
  rows.addEventListener("click", event => {
    const row = event.target.closest("tr");
    if (row) onChoose(row.dataset.id);
  });
}
