// Requests to the service. The tokens stay in this tab: they are sent in a header, never in an address.

const READ = "tactical.token";
const ORDER = "tactical.admin";

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const tokens = {
  get read() { return sessionStorage.getItem(READ) ?? sessionStorage.getItem(ORDER) ?? ""; },
  set read(value) { sessionStorage.setItem(READ, value); },
  get order() { return sessionStorage.getItem(ORDER) ?? ""; },
  set order(value) { sessionStorage.setItem(ORDER, value); },
  forgetOrder() { sessionStorage.removeItem(ORDER); },
  forgetRead() { sessionStorage.removeItem(READ); },
};

async function answered(path, options, token) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { cache: "no-store", credentials: "omit", redirect: "error", ...options, headers });
  if (response.ok) return response;
  const error = (await response.json().catch(() => ({}))).error ?? {};
  throw new Refused(response.status, error.code ?? "unknown", error.message ?? `the service answered ${response.status}`);
}

const query = parameters => {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `?${new URLSearchParams(given)}` : "";
};

export const get = async (path, parameters = {}) =>
  (await answered(path + query(parameters), {}, tokens.read)).json();

export const events = (symbol, lastId, signal) =>
  answered(`events${query({ symbol })}`, { signal, headers: lastId ? { "last-event-id": lastId } : {} }, tokens.read);

export const audit = async (token = tokens.order) => (await answered("admin/audit", {}, token)).json();

export const give = async (path, body) => (await answered(path, {
  method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" },
}, tokens.order)).json();

/** Return an id under which a repeated order counts once. */
export function requestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map(byte => byte.toString(16).padStart(2, "0")).join("")}`;
}
