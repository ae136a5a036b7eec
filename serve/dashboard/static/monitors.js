// The panels of what is watched beside the decisions: drift, and challengers.

import { byId, el, facts, fill, meter, table } from "./dom.js";
import { dollars, percent, plain, shortId } from "./format.js";

const GROUPS = { inputs: "inputs", behavior: "decisions", outcomes: "results" };
const VERDICTS = { running: "not decided yet", better: "challenger is better", worse: "challenger is worse",
  hopeless: "no use in going on" };
const TONES = { running: "", better: "healthy", worse: "degraded", hopeless: "degraded" };

/** What of drift is shown: null without a monitor. */
export function driftLines(drift) {
  if (!drift) return null;
  if (!drift.profile) return { text: "The bundle that decides has no profile.", rows: [] };
  if (!drift.sessions) return { text: "No whole session yet.", rows: [] };
  const rows = Object.entries(drift.ratios).map(([group, ratio]) => ({
    name: GROUPS[group] ?? group, share: ratio, label: `${percent(ratio, 0)} of the threshold`,
    tone: ratio > 1 ? "bad" : ratio > 0.75 ? "warn" : "good" }));
  return { text: drift.words, rows };
}

export function showDrift(drift) {
  const section = byId("drift");
  const found = driftLines(drift);
  section.hidden = found === null;
  if (!found) return;
  const sessions = drift.sessions ? [["sessions", plain(drift.sessions)]] : [];
  fill(section.lastElementChild,
    el("p", { className: drift.alarms ? "alarmed" : "" }, found.text),
    facts([...sessions, ...found.rows.map(row => [row.name, meter(row.share, row.tone, row.label)])]));
}

/** A share of equity a session, in basis points with its sign. */
export const points = share =>
  share === null || share === undefined ? "-" : `${share > 0 ? "+" : ""}${plain(Math.round(1e6 * share) / 100)} bp`;

/** What is said of a challenger, as names and values. */
export function challengerFacts(one) {
  const answered = one.unanswered ? `${plain(one.decisions)}, ${plain(one.unanswered)} not` : plain(one.decisions);
  return [
    ["decisions answered", answered],
    ["same action", percent(one.agreement, 0)],
    ["whole sessions", plain(one.sessions)],
    ["earned more a session", points(one.mean)],
    [`between (${percent(one.confidence, 1)})`, one.low === null ? "-" : `${points(one.low)} and ${points(one.high)}`],
  ];
}

export function showExperiment(experiment, symbol) {
  const section = byId("experiment");
  const own = experiment?.symbols[symbol];
  section.hidden = !own?.challengers.length;
  if (section.hidden) return;
  fill(section.lastElementChild, ...own.challengers.flatMap(one => {
    const name = el("h3", {}, "challenger ", el("code", { title: one.bundle_id }, shortId(one.bundle_id)));
    const verdict = el("p", { className: `status ${TONES[one.verdict]}` }, VERDICTS[one.verdict]);
    const accounts = [["champion", one.champion_account], ["challenger", one.account]];
    const rows = accounts.filter(([, account]) => account).map(([who, account]) =>
      [who, dollars(account.equity), dollars(account.net_pnl), percent(account.max_drawdown), plain(account.trades), plain(account.position)]);
    const paper = rows.length
      ? el("div", { className: "scroll", role: "region", "aria-label": `Accounts on paper, ${shortId(one.bundle_id)}`, tabIndex: 0 },
        table("Accounts on paper", ["on paper", "equity", "P&L", "drawdown", "trades", "position"], rows))
      : el("p", { className: "hint" }, "No accounts on paper yet.");
    return [name, verdict, facts(challengerFacts(one)), paper];
  }));
}
