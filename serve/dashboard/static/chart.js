// Candles with gaps, orders, fills and the levels of the open position.

import { CandlestickSeries, createChart, createSeriesMarkers, LineStyle, TickMarkType } from "./lightweight-charts.mjs";
import { decimals, time } from "./format.js";
import { barOf } from "./store.js";

/** Colors of the style sheet, so that both themes have theirs in one place. */
function colors() {
  const style = getComputedStyle(document.documentElement);
  const of = name => style.getPropertyValue(`--${name}`).trim();
  return Object.fromEntries(["panel", "text", "line", "up", "down", "up-zone", "down-zone", "accent", "muted"]
    .map(name => [name, of(name)]));
}

/** Draws the gaps as rectangles behind the candles. */
class GapZones {
  #zones = [];
  #colors = {};
  #attached = null;

  attached(parameters) { this.#attached = parameters; }
  detached() { this.#attached = null; }

  set(zones, palette) {
    this.#zones = zones;
    this.#colors = palette;
    this.#attached?.requestUpdate();
  }

  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: target => this.#draw(target) }) }];
  }

  #draw(target) {
    const { chart, series } = this.#attached;
    target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: h, verticalPixelRatio: v }) => {
      const scale = chart.timeScale();
      const half = scale.options().barSpacing / 2;
      for (const zone of this.#zones) {
        const left = scale.timeToCoordinate(zone.from_s);
        const right = scale.timeToCoordinate(zone.to_s);
        const top = series.priceToCoordinate(zone.high);
        const bottom = series.priceToCoordinate(zone.low);
        if (left === null || right === null || top === null || bottom === null) continue;
        context.fillStyle = this.#colors[zone.bullish ? "up-zone" : "down-zone"];
        context.fillRect((left - half) * h, top * v, (right - left + 2 * half) * h, Math.max(1, (bottom - top) * v));
      }
    });
  }
}

export class Chart {
  #chart; #candles; #markers; #zones = new GapZones(); #lines = []; #shown = []; #palette = {};
  #decisions = new Map();

  constructor(container, onDecision) {
    this.container = container;
    this.zone = "UTC";
    this.#chart = createChart(container, {
      autoSize: true,
      // the notice and the link stand at the end of the page
      layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif" },
      localization: { timeFormatter: seconds => time(seconds, this.zone, "moment") },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4,
        tickMarkFormatter: (seconds, kind) => time(seconds, this.zone,
          kind === TickMarkType.Time || kind === TickMarkType.TimeWithSeconds ? "clock" : "day") },
    });
    this.#candles = this.#chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.#candles.attachPrimitive(this.#zones);
    this.#markers = createSeriesMarkers(this.#candles, []);
    this.#chart.subscribeClick(({ time: at }) => {
      const found = this.#decisions.get(at);
      if (found) onDecision(found);
    });
    this.paint();
  }

  /** Take the colors of the theme. */
  paint() {
    const palette = this.#palette = colors();
    this.#chart.applyOptions({
      layout: { background: { color: palette.panel }, textColor: palette.text },
      grid: { vertLines: { color: palette.line }, horzLines: { color: palette.line } },
      rightPriceScale: { borderColor: palette.line },
      timeScale: { borderColor: palette.line },
    });
    this.#candles.applyOptions({ upColor: palette.up, downColor: palette.down,
      wickUpColor: palette.up, wickDownColor: palette.down });
    this.#zones.set(this.#gaps ?? [], palette);
  }

  #gaps = [];

  /** Show bars, oldest first. Only what is new is drawn where that is all that has changed. */
  bars(bars, { symbol, tick, zone, fit = false }) {
    this.zone = zone;
    const digits = decimals(tick);
    if (this.digits !== digits) {
      this.digits = digits;
      this.#candles.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
    }
    const candle = ([at, open, high, low, close]) => ({ time: at, open, high, low, close });
    const shown = this.#shown;
    const before = bars.length - 1 - shown.length;
    const same = shown.length > 0 && (before === 0 || before === -1) && bars[0]?.[0] === shown[0][0]
      && shown.at(-1)[0] === bars.at(before === 0 ? -2 : -1)?.[0] && !fit;
    if (same) {
      const from = Math.max(0, shown.length - 1);
      for (const bar of bars.slice(from)) this.#candles.update(candle(bar));
    } else {
      this.#candles.setData(bars.map(candle));
    }
    this.#shown = bars;
    const last = bars.at(-1);
    this.container.setAttribute("aria-label", last
      ? `Candles of ${symbol}: ${bars.length} bars, the last at ${time(last[0], zone, "moment")} closed at ${last[4]}`
      : `Candles of ${symbol}: no bars`);
    if (fit && bars.length) {
      const count = this.container.clientWidth < 600 ? 60 : 140;
      this.#chart.timeScale().setVisibleLogicalRange({ from: bars.length - count, to: bars.length + 3 });
    }
  }

  gaps(gaps) {
    const first = this.#shown[0]?.[0] ?? 0;
    this.#gaps = gaps.map(gap => ({ ...gap, from_s: Math.max(gap.from_s, first) }));
    this.#zones.set(this.#gaps, this.#palette);
  }

  /** Mark orders and fills on their bars. */
  marks(decisions, fills, barSeconds) {
    const bars = this.#shown;
    const known = new Set(bars.map(bar => bar[0]));
    const palette = this.#palette;
    const found = [];
    this.#decisions = new Map();
    for (const one of decisions) {
      const at = one.bar_s ?? barOf(bars, one.at_s, barSeconds);
      if (!known.has(at)) continue;
      if (one.order || !this.#decisions.get(at)?.order) this.#decisions.set(at, one);
      if (!one.order) continue;
      const buys = one.order.side === "BUY";
      const opens = one.order.stop_loss !== null;
      found.push({ time: at, position: buys ? "belowBar" : "aboveBar", color: buys ? palette.up : palette.down,
        shape: opens ? (buys ? "arrowUp" : "arrowDown") : "square", text: opens ? "" : "close" });
    }
    for (const fill of fills) {
      const at = barOf(bars, fill.time_s, barSeconds);
      if (at === null || fill.busted) continue;
      found.push({ time: at, position: "atPriceMiddle", price: fill.price, color: palette.accent, shape: "circle", size: 0.5 });
    }
    found.sort((a, b) => a.time - b.time);
    this.#markers.setMarkers(found);
  }

  /** Draw the levels of the open position; null for none. */
  levels(levels) {
    for (const line of this.#lines) this.#candles.removePriceLine(line);
    const palette = this.#palette;
    const wanted = levels ? [["entry", levels.entry, palette.accent], ["stop", levels.stop, palette.down],
      ["target", levels.target, palette.up]] : [];
    this.#lines = wanted.filter(([, level]) => level !== null).map(([title, level, color]) =>
      this.#candles.createPriceLine({ price: level, title, color, lineWidth: 1, lineStyle: LineStyle.Dashed }));
  }
}
