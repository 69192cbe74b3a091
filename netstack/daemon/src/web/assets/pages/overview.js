// Everything at a glance.
import { card, el, empty, say, segments } from "/lib/dom.js";
import { busyShares, latest, points, poll, store, watch } from "/lib/data.js";
import { bitParts, bits, byteParts, bytes, count, percent, rate, span } from "/lib/units.js";
import { chart, key } from "/lib/chart.js";
import { spark } from "/lib/spark.js";
import { bar, table } from "/lib/table.js";
import { flowTable } from "/pages/flows.js";

export const title = "Overview";

const LEVELS = [["at ease", "c-good"], ["short: flows are held to their share", "c-warn"], ["used up: holders are given up", "c-bad"]];
const SPARK = 90;

const tile = (label, colour, foot, isInset) => {
  const value = el("p", { class: "value" }, "–");
  const sub = el("p", { class: "sub" });
  const name = el("p", { class: "label" }, colour ? el("i", { class: `dot ${colour}` }) : "", label);
  const node = el("section", { class: "card tile c3" }, name, value, sub, el("div", { class: isInset ? "foot inset" : "foot" }, foot));
  const show = ([number, unit], text) => {
    value.replaceChildren(number, el("small", {}, unit));
    say(sub, text);
  };
  return { node, show };
};

const healthRow = (name, colour) => {
  const line = spark(colour, { width: 92, height: 24 });
  const value = el("b", {}, "–");
  return { node: el("div", {}, el("span", {}, name), value, line.node), value, line };
};

function workersTable() {
  const at = (worker, before, name) => {
    const seconds = Math.max((worker.at - (before?.at ?? worker.at)) / 1000, 0.001);
    return before ? Math.max(worker[name] - before[name], 0) / seconds : 0;
  };
  let before = [];
  const view = table({
    label: "Workers",
    keyOf: (worker) => worker.number,
    columns: [
      { title: "Worker", isName: true, cell: (worker) => String(worker.number) },
      { title: "Busy", cell: (worker, old) => bar(worker.share, percent(worker.share), old) },
      { title: "In", isNumber: true, cell: (worker) => bits(worker.rates[0]) },
      { title: "Out", isNumber: true, cell: (worker) => bits(worker.rates[1]) },
      { title: "Packets", isNumber: true, hint: "Packets a second, both directions", cell: (worker) => rate(worker.rates[2] + worker.rates[3]) },
      { title: "Handed", isNumber: true, hint: "Packets that it received and gave to the worker that owns their flow", cell: (worker) => rate(worker.rates[4]) },
      { title: "Queue", isNumber: true, hint: "Messages and packets of other threads that wait for it", cell: (worker) => count(worker.queue) },
      { title: "Timers", isNumber: true, cell: (worker) => count(worker.timers) },
    ],
  });
  const update = () => {
    const shares = busyShares();
    const time = store.samples.at(-1)?.at_millis ?? 0;
    if (before[0]?.at === time) return;
    const now = store.now.workers.map((worker) => ({ ...worker, at: time }));
    const names = ["bytes_in", "bytes_out", "packets_in", "packets_out", "handed_over"];
    view.update(now.map((worker, number) => ({
      ...worker,
      number,
      share: shares[number] ?? 0,
      rates: names.map((name) => at(worker, before[number], name)),
    })));
    before = now;
  };
  return { node: view.node, update };
}

export function start(root) {
  const sparks = { in: spark("c-in"), out: spark("c-out"), connections: spark("c-soft") };
  const fill = el("i");
  const meter = el("span", { class: "meter c-good" }, fill);
  const tiles = {
    in: tile("Received", "c-in", sparks.in.node),
    out: tile("Sent", "c-out", sparks.out.node),
    connections: tile("Connections", null, sparks.connections.node),
    memory: tile("Memory for packets", null, meter, true),
  };
  const series = [
    { name: "received", colour: "c-in", isArea: true },
    { name: "sent", colour: "c-out", isArea: true, isDown: true },
  ];
  const throughput = chart({ label: "Throughput", series, format: bits, unit: 8, height: 250, least: 125 });
  const widths = segments("Time shown", [[60, "1 min"], [300, "5 min"], [600, "10 min"]], 300, throughput.setSeconds);
  const meta = el("p", { class: "meta" });
  const health = {
    retransmits: healthRow("Retransmissions", "c-out"),
    dropped: healthRow("Discards", "c-bad"),
    passive_opens: healthRow("Accepted", "c-in"),
    resets: healthRow("Resets", "c-soft"),
  };
  const workers = workersTable();
  const flows = flowTable("Busiest connections", {});
  const none = empty("No connections", el("p", {}, "Nothing has opened one, or all have ended. Try an address of this daemon:"), el("code", {}, "nc 10.77.0.2 7"));
  none.hidden = true;
  root.append(
    el("div", { class: "head" }, el("h1", {}, title), meta),
    el("div", { class: "grid" },
      ...Object.values(tiles).map((one) => one.node),
      card("Throughput", { aside: el("div", { class: "tools-inline key" }, key(series), widths) }, throughput.node),
      card("Workers", { flush: true, span: "c8" }, workers.node),
      card("Health", { span: "c4" }, el("div", { class: "rows" }, ...Object.values(health).map((one) => one.node))),
      card("Busiest connections", { flush: true, aside: el("a", { href: "#/flows" }, "All flows") }, flows.node, none),
    ),
  );

  const show = () => {
    const { daemon, gauges } = store.now;
    say(meta, `${daemon.addresses.join(" · ")} · MTU ${daemon.mtu} · up ${span(daemon.uptime_millis)}`);
    const rates = points(["bytes_in", "bytes_out", "packets_in", "packets_out"]);
    const [received, sent, packetsIn, packetsOut] = rates.at(-1)?.values ?? [0, 0, 0, 0];
    tiles.in.show(bitParts(received), `${rate(packetsIn)} packets`.replace("/s packets", " packets/s"));
    tiles.out.show(bitParts(sent), `${rate(packetsOut)} packets`.replace("/s packets", " packets/s"));
    const recent = rates.slice(-SPARK);
    sparks.in.update(recent.map((one) => one.values[0]));
    sparks.out.update(recent.map((one) => one.values[1]));
    tiles.connections.show([count(gauges.connections), ""], `${count(gauges.half_open)} half-open · ${count(gauges.time_waits)} in TIME-WAIT`);
    sparks.connections.update(points(["connections"], true).slice(-SPARK).map((one) => one.values[0]));
    const share = gauges.memory_used / Math.max(gauges.memory_limit, 1);
    const [level, colour] = LEVELS[gauges.memory_level] ?? LEVELS[0];
    tiles.memory.show(byteParts(gauges.memory_used), `of ${bytes(gauges.memory_limit)} · ${level}`);
    meter.className = `meter ${colour}`;
    fill.style.width = `${(share * 100).toFixed(1)}%`;
    throughput.update(rates.map((one) => ({ t: one.t, values: one.values.slice(0, 2) })));
    for (const [name, row] of Object.entries(health)) {
      const names = name === "resets" ? ["resets_in", "resets_out"] : [name];
      const values = points(names).map((one) => one.values.reduce((a, b) => a + b));
      const now = latest(names).reduce((a, b) => a + b);
      say(row.value, rate(now));
      row.value.className = now > 0 && name === "dropped" ? "c-bad" : "";
      row.line.update(values.slice(-SPARK));
    }
    workers.update();
  };
  const unwatch = watch(show);
  const stop = poll(() => "/api/flows?limit=6", 1500, (page) => {
    none.hidden = page.rows.length > 0;
    flows.node.hidden = page.rows.length === 0;
    flows.update(page.rows);
  });
  return () => {
    unwatch();
    stop();
  };
}
