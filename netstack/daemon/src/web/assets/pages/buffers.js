// Memory for packets: how much there is, who holds it, what was done about a shortage.
import { card, el, empty, say } from "/lib/dom.js";
import { points, poll, store, watch } from "/lib/data.js";
import { bytes, count, percent } from "/lib/units.js";
import { chart, key } from "/lib/chart.js";
import { flowTable } from "/pages/flows.js";

export const title = "Buffers";

const COUNTERS = [
  ["memory_pressures", "Times memory became short"],
  ["memory_limits", "Times it was nearly used up"],
  ["memory_copied_bytes", "Copied out of unfilled slabs", bytes],
  ["memory_dropped_bytes", "Dropped ahead of gaps", bytes],
  ["memory_aborted", "Connections given up"],
  ["memory_aborted_orphans", "Given up after they were closed"],
  ["slabs_freed", "Slabs given back to the system"],
];

export function start(root) {
  const series = [
    { name: "used", colour: "c-in", isArea: true },
    { name: "taken from the system", colour: "c-out" },
    { name: "limit", colour: "c-soft", isDash: true },
  ];
  const memory = chart({ label: "Memory for packets", series, format: bytes, height: 230, seconds: 600, isBinary: true });
  const dds = {};
  const fact = (name, text) => {
    dds[name] = el("dd", {}, "–");
    return el("div", {}, el("dt", {}, text), dds[name]);
  };
  const facts = el("dl", { class: "facts" },
    fact("share", "Used"),
    fact("used", "In use"),
    fact("allocated", "Taken from the system"),
    fact("limit", "Limit (memory_bytes)"),
    fact("large", "Large slabs in use"),
    fact("small", "Small slabs in use"),
  );
  const done = el("dl", { class: "facts" }, ...COUNTERS.map(([name, text]) => fact(name, text)));
  const holders = flowTable("Connections that hold most", {});
  const none = empty("No connection holds memory", el("p", {}, "An idle connection holds no buffer. Those with unread or unacknowledged bytes are listed here, the largest first."));
  none.hidden = true;
  root.append(
    el("div", { class: "head" }, el("h1", {}, title), el("p", { class: "meta" }, "One number limits all of it; it is never exceeded")),
    el("div", { class: "grid" },
      card("Memory for packets", { aside: key(series) }, memory.node),
      card("Now", { span: "c6" }, facts),
      card("Since the start", { span: "c6" }, done),
      card("Connections that hold most", { flush: true }, holders.node, none)),
  );
  const unwatch = watch(() => {
    const { gauges } = store.now;
    const limit = gauges.memory_limit;
    memory.update(points(["memory_used", "memory_allocated"], true).map(({ t, values }) => ({ t, values: [...values, limit] })));
    say(dds.share, percent(gauges.memory_used / Math.max(limit, 1)));
    say(dds.used, bytes(gauges.memory_used));
    say(dds.allocated, bytes(gauges.memory_allocated));
    say(dds.limit, bytes(limit));
    say(dds.large, count(gauges.large_slabs));
    say(dds.small, count(gauges.small_slabs));
  });
  const stopStats = poll(() => "/api/stats", 2500, ({ counters }) => {
    for (const [name, , format] of COUNTERS) say(dds[name], (format ?? count)(counters[name] ?? 0));
  });
  const stopFlows = poll(() => "/api/flows?sort=memory&limit=10", 1500, (page) => {
    const rows = page.rows.filter((row) => row.memory_bytes > 0);
    holders.update(rows);
    holders.node.hidden = rows.length === 0;
    none.hidden = rows.length > 0;
  });
  return () => {
    unwatch();
    stopStats();
    stopFlows();
  };
}
