// Lines over time, drawn as SVG: axes in round numbers, a crosshair for mouse and keyboard.
import { el, svg } from "/lib/dom.js";
import { clock } from "/lib/units.js";

const LEFT = 66;
const RIGHT = 4;
const TOP = 14;
const BOTTOM = 22;

/** Returns a round step of which about `wanted` are in `range`. */
export function stepOf(range, wanted, isBinary) {
  const raw = range / wanted;
  if (!(raw > 0)) return 1;
  const unit = isBinary ? 2 ** (10 * Math.floor(Math.log2(Math.max(raw, 1)) / 10)) : 1;
  const power = unit * 10 ** Math.floor(Math.log10(raw / unit));
  const factor = [1, 2, 2.5, 5, 10].find((one) => one * power >= raw) ?? 10;
  return factor * power;
}

/**
 * Makes a chart. `series`: { name, colour, isArea, isDash, isThin, isDown }; `isDown` draws below the zero line.
 * `seconds`: the width; `format`: values to text; `unit`: how many of what is told make one of the values; `isFit`: the axis need not begin at zero; `band`: the numbers of two
 * series between which the area is filled. `update(points, marks)` draws points { t, values } and marks { t, from, to, name }.
 */
export function chart({ label, series, format, height = 220, seconds = 300, isBinary = false, isFit = false, band, least = 0, unit = 1 }) {
  const root = svg("svg", { role: "img", "aria-label": label, tabindex: "0", height });
  const tip = el("div", { class: "tip", hidden: true });
  const node = el("figure", { class: "chart" }, root, tip);
  const state = { points: [], marks: [], width: 600, seconds, at: null };
  let frame = 0;
  const later = () => {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  };

  const bounds = (shown) => {
    let [low, high] = isFit ? [Infinity, -Infinity] : [0, least];
    for (const { values } of shown) {
      values.forEach((value, place) => {
        if (value === null) return;
        const signed = series[place].isDown ? -value : value;
        low = Math.min(low, signed);
        high = Math.max(high, signed);
      });
    }
    if (!(high > low)) [low, high] = Number.isFinite(low) ? [low, low + (least || 1)] : [0, 1];
    const step = stepOf((high - low) * unit, height > 160 ? 5 : 3, isBinary) / unit;
    const isMirrored = series.some((one) => one.isDown);
    if (isMirrored) low = Math.min(low, -step / 2);
    const spare = (high - low) * 0.06;
    return [isFit ? low - spare : low < 0 ? low - spare : 0, high + spare, step];
  };

  const draw = () => {
    const { width, points, marks } = state;
    const end = points.at(-1)?.t ?? Date.now();
    const begin = end - state.seconds * 1000;
    // One before the first, for the line that comes in from the left.
    const first = points.findIndex((one) => one.t >= begin);
    const shown = points.slice(Math.max(first - 1, 0));
    const [low, high, step] = bounds(shown);
    const x = (t) => LEFT + ((t - begin) / (end - begin)) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - (value - low) / (high - low)) * (height - TOP - BOTTOM);
    root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const clip = `clip-${label.replace(/\W/g, "")}`;
    const plot = svg("g", { "clip-path": `url(#${clip})` });
    const parts = [
      svg("clipPath", { id: clip }, svg("rect", { x: LEFT, y: 0, width: Math.max(width - LEFT - RIGHT, 0), height: height - BOTTOM + 1 })),
      plot,
      ...times(begin, end, x, width),
    ];
    const tags = [];
    for (let value = Math.ceil(low / step) * step; shown.length && value <= high; value += step) {
      const isBase = Math.abs(value) < step / 1e6;
      plot.append(svg("line", { class: isBase ? "rule base" : "rule", x1: LEFT, x2: width - RIGHT, y1: Math.round(y(value)), y2: Math.round(y(value)) }));
      const tag = svg("text", { x: LEFT - 10, y: Math.round(y(value)) + 4, "text-anchor": "end" });
      tag.textContent = format(isFit ? value : Math.abs(value));
      tags.push(tag);
    }
    const paths = series.map((one, place) => outline(shown, (point) => {
      const value = point.values[place];
      return value === null ? null : [x(point.t), y(one.isDown ? -value : value)];
    }));
    if (band) plot.append(svg("path", { class: `area ${series[band[0]].colour}`, d: between(paths[band[0]], paths[band[1]]) }));
    series.forEach((one, place) => {
      const base = y(Math.max(low, 0));
      if (one.isArea) plot.append(svg("path", { class: `area ${one.colour}`, d: paths[place].map((run) => closed(run, base)).join("") }));
      const kind = one.isDash ? " dash" : one.isThin ? " thin" : "";
      plot.append(svg("path", { class: `line ${one.colour}${kind}`, d: paths[place].map(open).join("") }));
    });
    for (const mark of marks) {
      if (mark.t < begin || mark.t > end) continue;
      const [from, to] = [y(Math.min(Math.max(mark.from, low), high)), y(Math.min(Math.max(mark.to, low), high))];
      plot.append(svg("line", { class: `mark ${mark.colour ?? "c-bad"}`, x1: x(mark.t), x2: x(mark.t), y1: Math.max(from, to + 3), y2: to }));
    }
    parts.push(...tags);
    if (state.at !== null && shown.length) parts.push(cross(shown, begin, end, x));
    else tip.hidden = true;
    root.replaceChildren(...parts);
    const last = shown.at(-1);
    const values = last ? series.map((one, place) => `${one.name} ${told(last.values[place])}`).join(", ") : "nothing yet";
    root.setAttribute("aria-label", `${label}: ${values}`);
  };

  const told = (value) => (value === null ? "–" : format(value));

  const times = (begin, end, x, width) => {
    const wanted = Math.max(Math.min(Math.floor(width / 110), 8), 2);
    const step = [1, 2, 5, 10, 15, 30, 60, 120, 300].find((one) => state.seconds / one <= wanted) ?? 300;
    const labels = [];
    for (let at = Math.ceil(begin / (step * 1000)) * step * 1000; at <= end; at += step * 1000) {
      const place = x(at);
      if (place < LEFT + 20 || place > width - 30) continue;
      const text = svg("text", { x: place, y: height - 5, "text-anchor": "middle" });
      text.textContent = step % 60 ? clock(at) : clock(at).slice(0, 5);
      labels.push(text);
    }
    return labels;
  };

  const cross = (shown, begin, end, x) => {
    const wanted = begin + (state.at * (end - begin));
    const nearest = shown.reduce((best, one) => (Math.abs(one.t - wanted) < Math.abs(best.t - wanted) ? one : best));
    const place = x(nearest.t);
    tip.hidden = false;
    const rows = series.flatMap((one, at) => [
      el("span", {}, el("i", { class: `dot ${one.colour}` }), ` ${one.name}`),
      el("b", {}, told(nearest.values[at])),
    ]);
    tip.replaceChildren(el("time", {}, clock(nearest.t, state.seconds <= 60)), ...rows);
    const isRight = place > state.width / 2;
    tip.style.left = isRight ? "" : `${place + 12}px`;
    tip.style.right = isRight ? `${state.width - place + 12}px` : "";
    return svg("line", { class: "cross", x1: place, x2: place, y1: TOP - 6, y2: height - BOTTOM });
  };

  const point = (event) => {
    const box = root.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    state.at = Math.min(Math.max(share, 0), 1);
    later();
  };
  const leave = () => {
    state.at = null;
    later();
  };
  root.addEventListener("pointermove", point);
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (event.key === "Escape") leave();
    if (!move) return;
    event.preventDefault();
    state.at = Math.min(Math.max((state.at ?? 1) + move, 0), 1);
    later();
  });
  new ResizeObserver(([entry]) => {
    state.width = Math.max(Math.round(entry.contentRect.width), 120);
    later();
  }).observe(node);

  const update = (points, marks = []) => {
    state.points = points;
    state.marks = marks;
    later();
  };
  const setSeconds = (wanted) => {
    state.seconds = wanted;
    later();
  };
  return { node, update, setSeconds };
}

/** Returns the runs of points without gaps: where samples are missing, the line is broken. */
function outline(points, place) {
  const runs = [];
  let before = null;
  for (const point of points) {
    const at = place(point);
    if (at === null) {
      before = null;
      continue;
    }
    const isGap = before === null || point.t - before > 5000;
    if (isGap) runs.push([]);
    runs.at(-1).push(at);
    before = point.t;
  }
  return runs;
}

const pair = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
const open = (run) => `M${run.map(pair).join("L")}`;
const closed = (run, base) => `${open(run)}L${run.at(-1)[0].toFixed(1)} ${base}L${run[0][0].toFixed(1)} ${base}Z`;
const between = (upper, lower) =>
  upper.map((run, index) => (lower[index] ? `${open(run)}L${[...lower[index]].reverse().map(pair).join("L")}Z` : "")).join("");

/** Makes the key of a chart's series. */
export function key(series) {
  const items = series.map((one) => el("span", { class: one.colour }, el("i", { class: one.isDash ? "stroke dash" : "stroke" }), el("span", { class: "c-soft" }, one.name)));
  return el("div", { class: "key" }, ...items);
}
