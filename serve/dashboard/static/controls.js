// An operator's orders: only with the token for them, each after a confirmation, and the audit trail.

import { audit, give, Refused, requestId, tokens } from "./api.js";
import { byId, el, fill, table } from "./dom.js";
import { shortId, time } from "./format.js";

const ORDERS = {
  pause: ["Pause", "No orders from now on. An open position stays, with its stop and target at the broker."],
  force_hold: ["Force hold", "Every decision holds: the market is considered untradable. An open position stays."],
  flatten: ["Flatten", "The next decision closes the open position; then no orders."],
  resume: ["Resume", "Decisions may lead to orders again."],
};

/** Return the bundle that decided before the one of now, null without one; entries are oldest first. */
export function previousBundle(entries, symbol) {
  const chosen = entries.filter(entry => entry.kind === "model" && entry.symbol === symbol);
  const now = chosen.at(-1);
  return chosen.findLast(entry => entry.bundle_id !== now?.bundle_id) ?? null;
}

export class Controls {
  #holder = byId("controls").lastElementChild;
  #entries = [];
  #message = null;
  #locked = true;
  #allowed = false;

  /** `state()` returns what the page shows: symbol, symbols, zone. */
  constructor(state) {
    this.state = state;
  }

  /** Begin, or begin again after the token was given: `allowed` says whether the service takes orders from pages. */
  async start(allowed) {
    this.#allowed = allowed;
    if (allowed && (tokens.order || tokens.read)) await this.#unlock(tokens.order || tokens.read, true);
    else this.#show();
  }

  /** Ask for the audit trail again. */
  async refresh() {
    if (this.#locked) return;
    try {
      this.#entries = (await audit()).entries;
    } catch (error) {
      if (error.status === 401) this.#lock();
      this.#message = { error: error.message };
    }
    this.#show();
  }

  async #unlock(token, quiet) {
    try {
      this.#entries = (await audit(token)).entries;
      tokens.order = token;
      this.#locked = false;
      this.#message = null;
    } catch (error) {
      this.#message = quiet ? null
        : { error: error.status === 401 ? "This is not the token for orders." : error.message };
    }
    this.#show();
  }

  #lock() {
    tokens.forgetOrder();
    this.#locked = true;
    this.#entries = [];
  }

  #show() {
    const focused = document.activeElement?.id;
    const typed = [...this.#holder.querySelectorAll("input, select")].map(({ id, value }) => [id, value]);
    if (!this.#allowed) {
      fill(this.#holder, el("p", {}, "The service takes no orders from this page: it has no token. Start it with TACTICAL_TOKEN and TACTICAL_ADMIN_TOKEN."));
      return;
    }
    fill(this.#holder, ...(this.#locked ? this.#lockedParts() : this.#openParts()), this.#messagePart());
    // what somebody is typing stays when the audit trail has news
    for (const [id, value] of typed) {
      const input = byId(id);
      if (input && (!input.options || [...input.options].some(option => option.value === value))) input.value = value;
    }
    if (focused) byId(focused)?.focus();
  }

  #messagePart() {
    const { error, done } = this.#message ?? {};
    return el("p", error ? { role: "alert" } : { role: "status", className: "done" }, error ?? done ?? "");
  }

  #lockedParts() {
    const input = el("input", { id: "order-token", type: "password", autocomplete: "off", required: true });
    const form = el("form", {}, el("label", { htmlFor: "order-token" }, "Token for orders"), input,
      el("button", { type: "submit" }, "Unlock"));
    form.addEventListener("submit", event => {
      event.preventDefault();
      this.#unlock(input.value, false);
    });
    return [form];
  }

  #openParts() {
    const { symbol, symbols, zone } = this.state();
    const scope = el("select", { id: "order-scope" },
      el("option", { value: symbol }, symbol), symbols.length > 1 ? el("option", { value: "" }, "all symbols") : null);
    const note = el("input", { id: "order-note", maxLength: 300, autocomplete: "off" });
    const buttons = Object.entries(ORDERS).map(([action, [name, what]]) => {
      const button = el("button", { type: "button", id: `order-${action}`, className: action === "flatten" ? "danger" : "" }, name);
      button.addEventListener("click", () => this.#order({
        title: `${name} ${scope.value || "all symbols"}?`, text: what, name,
        path: "admin/override",
        body: { action, symbol: scope.value || null, note: note.value },
      }));
      return button;
    });
    const path = el("input", { id: "bundle-path", autocomplete: "off", required: true });
    const promote = el("form", {},
      el("label", { htmlFor: "bundle-path" }, `Promote a bundle for ${symbol}: its folder on the service's machine`),
      path, el("button", { type: "submit" }, "Promote"));
    promote.addEventListener("submit", event => {
      event.preventDefault();
      this.#order({ title: `Promote a bundle for ${symbol}?`, text: path.value, name: "Promote",
        path: "admin/model", body: { path: path.value, note: note.value } });
    });
    const before = previousBundle(this.#entries, symbol);
    const back = el("button", { type: "button", id: "roll-back", disabled: before === null },
      before ? `Roll back to ${shortId(before.bundle_id)}` : "Roll back");
    back.addEventListener("click", () => this.#order({
      title: `Roll ${symbol} back?`, name: "Roll back",
      text: `Bundle ${shortId(before.bundle_id)} of ${before.path} decides from then on.`,
      path: "admin/model", body: { path: before.path, bundle_id: before.bundle_id, note: note.value } }));
    const lock = el("button", { type: "button", id: "lock" }, "Lock");
    lock.addEventListener("click", () => { this.#lock(); this.#show(); });
    const rows = this.#entries.toReversed().slice(0, 50).map(entry => [
      entry.at_s === null ? "-" : time(entry.at_s, zone, "moment"), entry.symbol ?? "all",
      entry.kind === "model" ? `${entry.what} ${shortId(entry.bundle_id)}` : entry.what.replace("_", " "),
      entry.by, entry.note]);
    return [
      el("div", { className: "columns" },
        el("label", {}, "for ", scope), el("label", {}, "why ", note)),
      el("div", { className: "buttons", role: "group", "aria-label": "Orders" }, ...buttons),
      promote,
      el("div", { className: "buttons" }, back, lock),
      el("h3", { id: "audit-title" }, "Audit trail"),
      el("div", { className: "scroll", role: "region", "aria-labelledby": "audit-title", tabIndex: 0, id: "audit" },
        table("Audit trail", ["time", "for", "what", "by", "why"], rows)),
    ];
  }

  /** Ask whether an order is meant, give it, and say what came of it. */
  async #order({ title, text, name, path, body }) {
    if (!(await confirmed(title, text, name))) return;
    this.#message = null;
    this.#show();
    try {
      const answer = await give(path, { ...body, request_id: requestId() });
      const what = answer.override !== undefined ? `In force: ${answer.override.replace("_", " ")}`
        : `Bundle ${shortId(answer.bundle_id)} decides`;
      this.#message = { done: `${what} (state ${answer.version}).` };
      for (const id of ["order-note", "bundle-path"]) byId(id).value = "";
    } catch (error) {
      if (error instanceof Refused && error.status === 401) this.#lock();
      this.#message = { error: `Not done: ${error.message}` };
    }
    await this.refresh();
    this.#show();
  }
}

/** Ask in a dialog; resolves to whether it was confirmed. Escape and Cancel say no. */
function confirmed(title, text, name) {
  const dialog = byId("confirm");
  const cancel = el("button", { type: "button", id: "confirm-no" }, "Cancel");
  const go = el("button", { type: "button", id: "confirm-yes", className: "danger" }, name);
  fill(dialog, el("h2", { id: "confirm-title" }, title), el("p", {}, text),
    el("div", { className: "buttons" }, cancel, go));
  dialog.returnValue = "";
  return new Promise(done => {
    cancel.addEventListener("click", () => dialog.close("no"));
    go.addEventListener("click", () => dialog.close("yes"));
    dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
    cancel.focus();
  });
}
