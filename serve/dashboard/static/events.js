// Server-sent events over fetch: EventSource cannot send a token.

/** Takes the text of a stream in any pieces and returns the events that are complete. */
export class EventParser {
  #rest = "";
  lastId = "";
  retryMs = 1000;

  push(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    const found = [];
    for (const block of blocks) {
      let name = "";
      let data = "";
      for (const line of block.split("\n")) {
        const at = line.indexOf(": ");
        const [key, value] = at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 2)];
        if (key === "id") this.lastId = value;
        else if (key === "event") name = value;
        else if (key === "data") data += value;
        else if (key === "retry") this.retryMs = Number(value);
      }
      if (name) found.push({ name, data: JSON.parse(data) });
    }
    return found;
  }
}

export const LONGEST_PAUSE_MS = 15000;
export const SILENCE_MS = 40000;

/**
 * Follow the events of the service until `signal` is aborted; after a cut go on after the last one.
 *
 * `open(lastId, signal)` returns a response; `onEvent` gets each event, `onState` gets "live" or
 * "lost". Returns the last event's id when the service says that the view has to be asked again.
 */
export async function follow({ open, cursor, onEvent, onState, signal, wait = pause, silenceMs = SILENCE_MS }) {
  let lastId = cursor;
  let failures = 0;
  let pauseMs = 1000;
  while (!signal.aborted) {
    const cut = new AbortController();
    const stop = () => cut.abort();
    signal.addEventListener("abort", stop, { once: true });
    let timer = setTimeout(stop, silenceMs);
    try {
      const response = await open(lastId, cut.signal);
      const parser = new EventParser();
      const decoder = new TextDecoder();
      for await (const piece of pieces(response.body)) {
        clearTimeout(timer);
        timer = setTimeout(stop, silenceMs);
        const events = parser.push(decoder.decode(piece, { stream: true }));
        pauseMs = parser.retryMs;
        if (failures >= 0) onState("live");
        failures = -1;
        for (const event of events) {
          if (event.name === "reset") return "reset";
          onEvent(event);
        }
        lastId = parser.lastId || lastId;
      }
    } catch (error) {
      if (error.status === 401 || error.status === 403) throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      cut.abort();
    }
    if (signal.aborted) break;
    onState("lost");
    failures = Math.max(1, failures + 1);
    await wait(Math.min(pauseMs * 2 ** (failures - 1), LONGEST_PAUSE_MS), signal);
  }
  return "ended";
}

async function* pieces(body) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function pause(ms, signal) {
  return new Promise(done => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}
