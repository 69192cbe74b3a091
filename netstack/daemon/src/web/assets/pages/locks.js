// How long threads wait for each other's locks, and hold them.
import { card, el, empty, say } from "/lib/dom.js";
import { poll } from "/lib/data.js";
import { count, nanos, percent, rate } from "/lib/units.js";
import { bar, table } from "/lib/table.js";

export const title = "Locks";

/** Makes or changes a cell with a histogram of holds, by powers of two of nanoseconds. */
function histogram(holds, old) {
  const node = old ?? el("div", { class: "bars", "aria-hidden": "true" });
  const first = Math.min(...holds.map((one, place) => (one > 0 ? place : Infinity)));
  const shown = Number.isFinite(first) ? holds.slice(Math.max(first - 1, 0)) : [];
  while (node.children.length < shown.length) node.append(el("i"));
  while (node.children.length > shown.length) node.lastElementChild.remove();
  const most = Math.log(Math.max(...shown, 1) + 1);
  shown.forEach((value, place) => {
    node.children[place].style.height = `${((Math.log(value + 1) / most) * 100).toFixed(0)}%`;
    node.children[place].title = `${count(value)} below ${nanos(2 ** (place + Math.max(first - 1, 0)))}`;
  });
  return node;
}

const contention = (level) => (level.acquired ? level.contended / Math.max(level.acquired, level.contended) : 0);

export function start(root) {
  const view = table({
    label: "Levels of the lock order",
    keyOf: (level) => level.name,
    columns: [
      { title: "Level", cell: (level) => level.name },
      { title: "Taken", isNumber: true, cell: (level) => (level.acquired ? rate(level.rate) : "–") },
      { title: "Since the start", isNumber: true, cell: (level) => count(level.acquired) },
      { title: "Found taken", cell: (level, old) => bar(contention(level), percent(contention(level)), old, contention(level) > 0.05 ? "c-bad" : "c-in") },
      { title: "Waited, mean", isNumber: true, cell: (level) => (level.contended ? nanos(level.waited_nanos / level.contended) : "–") },
      { title: "99 % below", isNumber: true, hint: "99 of 100 waits", cell: (level) => (level.contended ? nanos(level.wait_p99_nanos) : "–") },
      { title: "Held, mean", isNumber: true, cell: (level) => (level.acquired ? nanos(level.held_nanos / level.acquired) : "–") },
      { title: "99 % below", isNumber: true, hint: "99 of 100 holds", cell: (level) => (level.acquired ? nanos(level.hold_p99_nanos) : "–") },
      { title: "Holds", hint: "How long, by powers of two of nanoseconds; logarithmic", cell: (level, old) => histogram(level.holds, old) },
    ],
  });
  const chain = el("p", {});
  const on = card("Levels, in the order in which they may be taken", { flush: true, aside: chain }, view.node);
  const command = el("code", {});
  const off = el("section", { class: "card" }, empty(
    "This program does not time its locks",
    el("p", {}, "It takes two readings of the clock for each lock that is taken, so it is a choice made when the program is built:"),
    command,
  ));
  on.hidden = true;
  off.hidden = true;
  root.append(
    el("div", { class: "head" }, el("h1", {}, title), el("p", { class: "meta" }, "The order is checked when the program is built, so no two threads wait for each other")),
    on, off);
  let before = new Map();
  let at = 0;
  return poll(() => "/api/locks", 1500, (answer) => {
    on.hidden = !answer.is_tracked;
    off.hidden = answer.is_tracked;
    if (!answer.is_tracked) return say(command, answer.build);
    const now = performance.now();
    const seconds = Math.max((now - at) / 1000, 0.001);
    view.update(answer.levels.map((level) => ({ ...level, rate: before.has(level.name) ? (level.acquired - before.get(level.name)) / seconds : 0 })));
    before = new Map(answer.levels.map((level) => [level.name, level.acquired]));
    at = now;
    say(chain, `longest chain held at once: ${answer.longest_chain.join(" → ") || "none"}`);
  });
}
