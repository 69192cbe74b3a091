// Discarded packets by reason.
import { card, el, empty, say } from "/lib/dom.js";
import { poll } from "/lib/data.js";
import { count, rate } from "/lib/units.js";
import { chart } from "/lib/chart.js";
import { spark } from "/lib/spark.js";
import { table } from "/lib/table.js";

export const title = "Drops";

const KEPT = 600;

/** Makes or changes a cell with a sparkline. */
function sparkCell(values, old, colour) {
  const node = old ?? Object.assign(el("div"), { spark: spark(colour, { width: 120, height: 22 }) });
  if (!node.firstChild) node.append(node.spark.node);
  node.spark.update(values);
  return node;
}

export function start(root) {
  const series = [{ name: "discarded", colour: "c-bad", isArea: true }];
  const all = chart({ label: "Discarded packets a second", series, format: rate, height: 180, seconds: 300, least: 1 });
  const view = table({
    label: "Reasons",
    keyOf: (one) => one.name,
    columns: [
      {
        title: "Reason",
        kind: "wrap",
        cell: (one, old) => old ?? el("div", {}, el("span", { class: "mono" }, one.name), el("span", { class: "help" }, one.help)),
      },
      { title: "Last minutes", cell: (one, old) => sparkCell(one.rates, old, "c-bad") },
      { title: "A second", isNumber: true, cell: (one) => (one.now > 0 ? rate(one.now) : "–") },
      { title: "Packets", isNumber: true, cell: (one) => count(one.total) },
    ],
  });
  const none = empty(
    "Nothing was discarded",
    el("p", {}, "Each packet that the stack discards is counted under one reason, and listed here. If a peer hears nothing and this stays empty, its packets do not arrive: look at the route to the device, and at"),
    el("code", {}, "netstackd capture -w - | tcpdump -nr -"),
  );
  const told = el("p", {});
  const cards = [card("Discarded packets a second", {}, all.node), card("By reason", { flush: true, aside: told }, view.node)];
  none.hidden = true;
  root.append(
    el("div", { class: "head" }, el("h1", {}, title), el("p", { class: "meta" }, "Each discarded packet has exactly one reason")),
    el("div", { class: "grid" }, ...cards, el("section", { class: "card", hidden: true }, none)),
  );
  const emptyCard = none.parentNode;

  let samples = [];
  let names = "";
  // A reason that is new makes the samples longer: all are asked for again.
  const path = () => `/api/drops?after=${samples.at(-1)?.seq ?? 0}`;
  const take = (answer) => {
    const now = answer.reasons.map((one) => one.name).join();
    if (now !== names) {
      const isFirst = samples.length === 0;
      samples = [];
      names = now;
      if (!isFirst) return stop.again();
    }
    samples.push(...answer.samples);
    samples.splice(0, samples.length - KEPT);
    show(answer.reasons);
  };
  const show = (reasons) => {
    const isEmpty = reasons.length === 0;
    cards.forEach((one) => { one.hidden = isEmpty; });
    none.hidden = !isEmpty;
    emptyCard.hidden = !isEmpty;
    const rates = samples.slice(1).map((one, index) => {
      const seconds = Math.max((one.at_millis - samples[index].at_millis) / 1000, 0.001);
      return { t: one.at_millis, values: one.drops.map((value, place) => Math.max(value - samples[index].drops[place], 0) / seconds) };
    });
    all.update(rates.map((one) => ({ t: one.t, values: [one.values.reduce((a, b) => a + b, 0)] })));
    const rows = reasons.map((one, place) => {
      const line = rates.slice(-120).map((sample) => sample.values[place]);
      return { ...one, rates: line, now: line.at(-1) ?? 0 };
    });
    rows.sort((a, b) => b.now - a.now || b.total - a.total);
    view.update(rows);
    say(told, `${count(reasons.reduce((sum, one) => sum + one.total, 0))} since the start`);
  };
  const stop = poll(path, 1000, take);
  return stop;
}
