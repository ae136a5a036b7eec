// Small helpers that make and fill elements. Texts are set as texts: nothing is parsed as HTML.

/** Return a new element. Properties named as attributes (with "-", or role) are set as such. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.includes("-") || name === "role" || name === "scope") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

export const byId = id => document.getElementById(id);

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...children.filter(child => child !== null && child !== undefined));
}

/** Set a text only when it is another one, so that screen readers and layout are left in peace. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Return a list of names and values. */
export function facts(pairs) {
  const list = el("dl", { className: "facts" });
  for (const [name, value] of pairs) list.append(el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return list;
}

/** Return a table; cells are texts or elements. */
export function table(caption, head, rows) {
  const cells = row => el("tr", {}, ...row.map(cell => el("td", {}, cell)));
  return el("table", {},
    el("caption", { className: "hidden" }, caption),
    el("thead", {}, el("tr", {}, ...head.map(name => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...rows.map(cells)));
}

/** Return a horizontal meter from 0 to 1 with a text beside it that says the same. */
export function meter(share, tone, label) {
  const bar = el("span", { className: `meter ${tone}`, "aria-hidden": "true" }, el("span"));
  bar.firstChild.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  return el("span", { className: "measure" }, bar, label);
}
