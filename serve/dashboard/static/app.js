// The page: asks for the view, follows the events, and draws what has changed once per frame.

import { events, get, Refused, tokens } from "./api.js";
import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { byId, el, fill, setText } from "./dom.js";
import { follow } from "./events.js";
import { price, time } from "./format.js";
import { showDrift, showExperiment } from "./monitors.js";
import { listenToDecisions, showAccount, showConditions, showDecisions, showHealth, showSymbols } from "./panels.js";
import { DayStore } from "./replay.js";
import { conditions, levelsOf, LiveStore } from "./store.js";
import { explain } from "./why.js";

const THEME = "tactical.theme";
const BARS = 600;
const DECISIONS = 200;
const PLAY_MS = 400;

const page = { live: null, day: null, connection: "connecting", lostAt: 0, following: null, playing: null };
const dirty = new Set();
let frame = 0;
let chart = null;

const controls = new Controls(() => ({ symbol: page.live.symbol, symbols: Object.keys(page.live.status.symbols), zone: zone() }));
const zone = () => page.live?.own?.timezone ?? "UTC";
const store = () => page.day ?? page.live;

/** Have parts drawn in the next frame, however many events come before it. */
function changed(...parts) {
  parts.forEach(part => dirty.add(part));
  frame ||= requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const parts = new Set(dirty);
  dirty.clear();
  const { live, day } = page;
  if (!live) return;
  const shown = store();
  const own = live.own;
  const tick = own.tick_size;
  const all = parts.has("all");
  if (all || parts.has("bars")) chart.bars(shown.bars, { symbol: shown.symbol, tick, zone: zone(), fit: all });
  if (all || parts.has("bars") || parts.has("gaps")) chart.gaps(shown.gaps);
  const account = day ? day.account() : own;
  if (all || parts.has("bars") || parts.has("decisions") || parts.has("status")) {
    const levels = levelsOf({ decisions: shown.decisions, fills: shown.fills,
      position: account?.position, entryPrice: day ? null : own.entry_price });
    chart.marks(shown.decisions, shown.fills, own.bar_seconds);
    chart.levels(levels);
    showAccount(account && { ...account, levels }, { tick, total: day ? null : live.status.total,
      note: day ? "As the last decision shown saw it." : undefined });
    showDecisions(shown.decisions, { tick, zone: zone(), barSeconds: own.bar_seconds, ordersOnly: byId("orders-only").checked });
  }
  showSymbols(live.status, live.symbol, choose);
  showHealth(live.health, own, Date.now() / 1000);
  showDrift(live.monitors?.drift[live.symbol]);
  showExperiment(live.monitors?.experiment, live.symbol);
  showConditions(conditions({ own, total: live.status.total, connection: page.connection,
    lostAt: page.lostAt, health: live.health, zone: zone(), past: day?.day.day }));
  const last = shown.bars.at(-1);
  setText(byId("price"), last ? price(last[4], tick) : "");
  setText(byId("legend"), last
    ? `${shown.bars.length} bars, the last closed ${time(last[0] + own.bar_seconds, zone(), "moment")} (${zone()}). Shaded: fair value gaps. Arrows: entries, squares: closings, dots: fills.`
    : "No bars.");
  if (day) drawPosition(day);
}

function drawPosition(day) {
  const bar = byId("position");
  bar.max = Math.max(0, day.length - 1);
  bar.value = day.index;
  const text = day.length ? `bar ${day.index + 1} of ${day.length}, ${time(day.time, zone(), "clock")}` : "no bars on this day";
  bar.setAttribute("aria-valuetext", text);
  setText(byId("replay-time"), text);
}

function connection(state) {
  if (state === page.connection) return;
  if (state === "lost") page.lostAt = Date.now() / 1000;
  page.connection = state;
  const badge = byId("connection");
  badge.className = `badge ${state}`;
  setText(badge, { live: "live", lost: "no connection", connecting: "connecting" }[state]);
  changed("status");
}

/** Ask for the view of a symbol and follow its events, until another one is chosen. */
async function show(symbol) {
  page.following?.abort();
  const following = page.following = new AbortController();
  for (;;) {
    try {
      const view = await get("view", { symbol, bars: BARS, decisions: DECISIONS });
      if (following.signal.aborted) return;
      const { health = null, monitors = null } = page.live ?? {};
      page.live = new LiveStore(view);
      Object.assign(page.live, { health, monitors });
      begun(view);
      const end = await follow({
        open: (lastId, signal) => events(view.symbol, lastId, signal),
        cursor: view.cursor,
        onEvent: event => {
          const parts = page.live.apply(event);
          if (parts.includes("audit")) controls.refresh();
          else changed(...parts);
        },
        onState: connection,
        signal: following.signal,
      });
      if (end !== "reset") return;
    } catch (error) {
      if (following.signal.aborted) return;
      if (error instanceof Refused && (error.status === 401 || error.status === 403)) {
        askForToken(error);
        return;
      }
      if (error instanceof Refused && error.code === "missing_field") {
        // several symbols: the first of them
        symbol = /'([^']+)'/.exec(error.message)?.[1];
        continue;
      }
      connection("lost");
      await new Promise(done => setTimeout(done, 2000));
    }
  }
}

/** Show what a view has that events do not change. */
function begun(view) {
  byId("access").hidden = true;
  chart ??= new Chart(byId("chart"), decision => whyOf(decision));
  const names = Object.keys(view.status.symbols);
  const choice = byId("symbol");
  fill(choice, ...names.map(name => el("option", { value: name, selected: name === view.symbol }, name)));
  choice.disabled = names.length < 2;
  document.title = `${view.symbol} · Decisions`;
  controls.start(view.controls);
  changed("all");
}

function askForToken(error) {
  byId("access").hidden = false;
  const given = Boolean(tokens.read);
  tokens.forgetRead();
  setText(byId("access-error"), error.status === 403 ? error.message : given ? "The service does not know this token." : "");
  byId("access-token").focus();
}

async function choose(symbol) {
  byId("symbol").value = symbol;
  if (page.day) await leaveDay();
  await show(symbol);
}

function whyOf(decision) {
  const own = page.live.own;
  explain(decision, { tick: own.tick_size, zone: zone(), threshold: own.threshold,
    bars: page.day ? page.day.day.bars : page.live.bars, barSeconds: own.bar_seconds });
}

// past days

async function openDay(day) {
  play(false);
  setText(byId("replay-time"), "reading the journal ...");
  try {
    const found = await get("day", { symbol: page.live.symbol, day });
    page.day = new DayStore(found);
    const choice = byId("day");
    const days = found.days.toReversed();
    fill(choice, ...days.map(each => el("option", { value: each, selected: each === found.day }, each)));
    changed("all");
  } catch (error) {
    setText(byId("replay-time"), error.message);
  }
}

async function leaveDay() {
  play(false);
  page.day = null;
  byId("replay").hidden = true;
  byId("mode").setAttribute("aria-pressed", "false");
  changed("all");
}

function step(kind) {
  const { day } = page;
  if (!day) return;
  const next = kind === "next" ? day.nextOrder() : null;
  if (kind === "first") day.go(0);
  else if (kind === "next") { if (next !== null) day.go(next); }
  else day.go(day.index + Number(kind));
  changed("bars", "gaps", "decisions");
}

function play(on) {
  clearInterval(page.playing);
  page.playing = on ? setInterval(() => {
    step(1);
    if (page.day && page.day.index >= page.day.length - 1) play(false);
  }, PLAY_MS) : null;
  byId("play").setAttribute("aria-pressed", String(on));
  setText(byId("play"), on ? "Stop" : "Play");
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  setText(byId("theme"), name === "dark" ? "Light" : "Dark");
  chart?.paint();
  if (page.live) changed("status");
}

function listen() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(localStorage.getItem(THEME) ?? (dark.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => {
    const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem(THEME, name);
    theme(name);
  });
  byId("symbol").addEventListener("change", event => choose(event.target.value));
  byId("orders-only").addEventListener("change", () => changed("decisions"));
  byId("mode").addEventListener("click", async () => {
    if (page.day || !byId("replay").hidden) { await leaveDay(); return; }
    if (!page.live) return;
    byId("replay").hidden = false;
    byId("mode").setAttribute("aria-pressed", "true");
    await openDay(null);
  });
  byId("day").addEventListener("change", event => openDay(event.target.value));
  byId("play").addEventListener("click", () => play(!page.playing));
  byId("position").addEventListener("input", event => {
    page.day?.go(Number(event.target.value));
    changed("bars", "gaps", "decisions");
  });
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => step(button.dataset.step));
  }
  byId("access-form").addEventListener("submit", event => {
    event.preventDefault();
    tokens.read = byId("access-token").value;
    byId("access-token").value = "";
    show(page.live?.symbol);
  });
  listenToDecisions(id => {
    const found = store().decisions.find(one => one.decision_id === id);
    if (found) whyOf(found);
  });
  setInterval(() => { if (page.live) changed("clock"); }, 5000);
}

listen();
show(new URLSearchParams(location.search).get("symbol"));
