// Numbers, times and codes as people read them.

export const AGENTS = ["fvg", "momentum", "entry"];

/** What the reason of a decision means to an operator. */
export const REASONS = {
  execute: "order",
  no_direction: "no direction",
  no_agreement: "agents do not agree",
  below_threshold: "score below the threshold",
  counter_synergy: "against the synergy",
  entry_wait: "entry agent waits",
  session_halted: "session halted by its drawdown",
  session_closed: "market closed",
  risk_limit: "risk limit leaves no lot",
  leverage_limit: "leverage limit leaves no lot",
  already_positioned: "already in this position",
  positions_limit: "all places for positions are taken",
  close_opposite: "close the opposite position",
  paused: "paused by an operator",
  forced_hold: "hold forced by an operator",
  flatten: "flattened by an operator",
  state_unavailable: "state store unavailable",
  data_stale: "bars are stale",
  data_gap: "bars are missing shortly before",
  level_not_positive: "stop or target at or below zero",
  account_lost: "account lost",
  model_loading: "model is loading",
  data_suspect: "bars are suspect",
  position_mismatch: "position differs from the broker's",
  clock_jumped: "clock has jumped",
  event_late: "event came too late",
  event_early: "event is of the future",
};

export const reason = code => REASONS[code] ?? String(code).replaceAll("_", " ");

const kept = new Map();
function formatter(key, make) {
  if (!kept.has(key)) kept.set(key, make());
  return kept.get(key);
}

const number = digits => formatter(`n${digits}`, () => new Intl.NumberFormat("en-US", {
  minimumFractionDigits: digits, maximumFractionDigits: digits }));

/** Return how many decimals a price has whose smallest step is `tick`. */
export function decimals(tick) {
  for (let digits = 0; digits < 9; digits += 1) {
    const scaled = tick * 10 ** digits;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6) return digits;
  }
  return 8;
}

export const price = (value, tick) =>
  value === null || value === undefined ? "-" : number(decimals(tick)).format(value);

export const dollars = value =>
  value === null || value === undefined ? "-" : (value < 0 ? "-$" : "$") + number(0).format(Math.abs(value));

export const percent = (share, digits = 2) =>
  share === null || share === undefined ? "-" : `${number(digits).format(100 * share)}%`;

export const plain = value => formatter("g", () => new Intl.NumberFormat("en-US", {
  maximumFractionDigits: 6 })).format(value);

export const score = value => number(3).format(value);

const CLOCK = { hourCycle: "h23", hour: "2-digit", minute: "2-digit" };
const PARTS = {
  clock: CLOCK,
  seconds: { ...CLOCK, second: "2-digit" },
  day: { day: "numeric", month: "short" },
  moment: { ...CLOCK, day: "numeric", month: "short" },
};

/** Return an epoch time in a time zone; `kind` is one of clock, seconds, day, moment. */
export const time = (seconds, zone, kind = "clock") =>
  formatter(`${zone} ${kind}`, () => new Intl.DateTimeFormat("en-US", { ...PARTS[kind], timeZone: zone }))
    .format(1000 * seconds);

/** Return a duration as people say it. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.round(whole / 60)} min`;
  return whole < 172800 ? `${Math.round(whole / 3600)} h` : `${Math.round(whole / 86400)} days`;
}

export const shortId = id => id.slice(0, 12);

/** Return the order of a decision in one line. */
export function order(decision, tick) {
  const found = decision.order;
  if (!found) return "";
  const levels = found.stop_loss === null ? "close"
    : `stop ${price(found.stop_loss, tick)}, target ${price(found.take_profit, tick)}`;
  return `${found.side} ${plain(found.quantity)} (${levels})`;
}
