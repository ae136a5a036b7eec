// Why a decision is what it is: what the journal has at once, then what recomputing it tells.

import { get } from "./api.js";
import { byId, el, facts, fill, meter, table } from "./dom.js";
import { AGENTS, dollars, order, percent, plain, price, reason, score, shortId, time } from "./format.js";

const LABELS = { fvg: ["long", "hold", "short"], momentum: ["up", "neutral", "down"], entry: ["wait", "execute", "aggressive"] };
const STEPS = { votes: "votes", gap: "missing bars", order: "order asked for", limits: "risk limits", override: "override" };
const ROWS = 8;

/** Show a decision; `bars` are those of the page, for the prices of the window. */
export async function explain(decision, { tick, zone, threshold, bars, barSeconds }) {
  const dialog = byId("why");
  const more = el("div", { id: "why-more" }, el("p", { role: "status" }, "Recomputing the decision from the journal ..."));
  const close = el("button", { type: "button", id: "why-close" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const at = decision.bar_s === null ? decision.at_s : decision.bar_s + barSeconds;
  fill(dialog, el("h2", { id: "why-title" }, `${time(at, zone, "moment")}: ${
    decision.execute ? decision.action : "hold"}, ${reason(decision.reason)}`), close,
    known(decision, { tick, zone, threshold }), more);
  if (!dialog.open) dialog.showModal();
  dialog.dataset.id = decision.decision_id;
  try {
    const found = await get("explain", { decision_id: decision.decision_id });
    if (dialog.dataset.id === decision.decision_id) fill(more, ...recomputed(found, { tick, zone, bars, barSeconds }));
  } catch (error) {
    if (dialog.dataset.id === decision.decision_id) fill(more, el("p", { role: "alert" }, `Not explained: ${error.message}`));
  }
}

/** What the journal has of a decision. */
function known(decision, { tick, zone, threshold }) {
  const votes = AGENTS.map(agent => {
    const vote = decision.votes[agent];
    const lines = LABELS[agent].map((label, i) => {
      const probability = vote.probabilities?.[i];
      const name = el("span", { className: label === vote.label ? "chosen" : "" }, label);
      return [name, probability === undefined ? "-" : meter(probability, "plain", percent(probability, 1))];
    });
    return el("div", {}, el("h3", {}, `${agent}: ${vote.label}`), facts(lines));
  });
  const scores = Object.entries(decision.scores).map(([side, value]) => [
    el("span", { className: side === decision.side ? "chosen" : "" }, side),
    meter(value, side === decision.side && value >= threshold ? "good" : "plain", score(value))]);
  scores.push(["needed for an order", score(threshold)]);
  const rest = facts([
    ["decided at", `${time(decision.at_s, zone, "moment")}:${time(decision.at_s, zone, "seconds").slice(-2)}`],
    ["price / ATR", `${price(decision.price, tick)} / ${plain(decision.atr)}`],
    ["position then", plain(decision.position)],
    ["equity then", dollars(decision.equity)],
    ["order", order(decision, tick) || "none"],
    ["source", decision.source],
    ["asked by", decision.caller || "-"],
    ["bundle", el("code", {}, shortId(decision.bundle_id))],
    ["decision", el("code", { title: decision.decision_id }, shortId(decision.decision_id))],
  ]);
  return el("div", {},
    el("div", { className: "columns" }, ...votes),
    el("div", { className: "columns" }, el("div", {}, el("h3", {}, "scores"), facts(scores)),
      el("div", {}, el("h3", {}, "circumstances"), rest)));
}

const outcome = found => `${found.action}${found.quantity ? ` ${plain(found.quantity)}` : ""}: ${reason(found.reason)}`;
const voteText = votes => AGENTS.map(agent => votes[agent]).join(" / ");
const signed = value => (value >= 0 ? "+" : "") + value.toFixed(3);
const effects = part => AGENTS.map(agent => signed(part.effect[agent]));
const size = part => Math.max(...AGENTS.map(agent => Math.abs(part.effect[agent])));

/** What recomputing a decision tells. */
function recomputed(found, { tick, zone, bars, barSeconds }) {
  const head = name => [name, ...AGENTS, "decision without it"];
  const matters = parts => parts.map(part => [part.name, ...effects(part), outcome(part.outcome)]);
  const columns = found.columns.toSorted((a, b) => size(b) - size(a));
  const rows = found.rows.toSorted((a, b) => size(b) - size(a)).slice(0, ROWS);
  const others = [...found.others, ...(found.nearest ? [found.nearest] : [])].map((other, i) => [
    i === found.others.length ? "nearest other outcome" : "one other vote", voteText(other.votes),
    other.probability === null ? "-" : percent(other.probability, 2), outcome(other.outcome), score(other.outcome.score)]);
  return [
    found.same ? null : el("p", { role: "alert" }, "The recomputation differs from what was recorded."),
    el("h3", {}, "From the votes to the order"),
    table("Steps", ["step", "what it says", "action", "lots"], found.steps.map(step => [
      STEPS[step.name], step.name === "limits" || step.name === "override" ? reason(step.text) : step.text,
      step.action, step.quantity ? plain(step.quantity) : "-"])),
    found.limits.length ? facts(found.limits.map(limit => [
      `${limit.name.replaceAll("_", " ")} ${plain(limit.limit)} made it smaller`, `${plain(limit.quantity)} lots allowed`])) : null,
    el("p", { className: "hint" }, `weights: ${AGENTS.map(agent => `${agent} ${found.weights[agent]}`).join(", ")}; threshold ${found.threshold}`),
    el("h3", {}, "What mattered: by how much the probability of each vote falls without the feature"),
    scroll("features", table("Features", head("feature"), matters(columns))),
    el("h3", {}, `The ${ROWS} bars that mattered most`),
    scroll("bars", table("Bars", head("bar"), matters(rows))),
    el("h3", {}, "What other votes would have done"),
    scroll("others", table("Other votes", ["change", "fvg / momentum / entry", "probability", "decision", "score"], others)),
    el("h3", {}, "The window: 60 bars and seven features"),
    scroll("window", windowTable(found, { tick, zone, bars, barSeconds })),
  ];
}

const scroll = (name, part) => el("div", { className: "scroll", role: "region", "aria-label": name, tabIndex: 0 }, part);

function windowTable(found, { tick, zone, bars, barSeconds }) {
  const last = found.bar_s === null ? -1 : bars.findIndex(bar => bar[0] === found.bar_s);
  const count = found.window.length;
  const rows = found.window.map((values, i) => {
    const bar = last < 0 ? undefined : bars[last - (count - 1 - i)];
    const at = bar ? time(bar[0] + barSeconds, zone, "clock") : i === count - 1 ? "last" : `-${count - 1 - i}`;
    return [at, bar ? price(bar[4], tick) : "-", ...values.map(value => plain(Number(value.toFixed(4))))];
  }).reverse();
  return table("Window", ["closed at", "close", ...found.features.map(name => name.replaceAll("_", " "))], rows);
}
