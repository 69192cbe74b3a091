// One connection: its sequence numbers over time, its round trips, its windows, its events.
import { card, el, empty, say, segments } from "/lib/dom.js";
import { bits, bytes, clock, count, micros } from "/lib/units.js";
import { chart, key } from "/lib/chart.js";
import { stateChip } from "/pages/flows.js";

export const title = "Flow";

const KEPT = 1200;
const EVENTS = 200;
const SSTHRESH_NONE = 0x40000000;

const FACTS = [
  ["Round trip", (tcp) => `${micros(tcp.srtt_micros)} ± ${micros(tcp.rttvar_micros)}`],
  ["Least round trip", (tcp) => micros(tcp.min_rtt_micros)],
  ["Retransmission timeout", (tcp) => micros(tcp.rto_micros)],
  ["Congestion window", (tcp) => bytes(tcp.cwnd_bytes)],
  ["Slow start threshold", (tcp) => (tcp.ssthresh_bytes >= SSTHRESH_NONE ? "none yet" : bytes(tcp.ssthresh_bytes))],
  ["In flight", (tcp) => bytes(tcp.in_flight_bytes)],
  ["Peer's window", (tcp) => bytes(tcp.send_window_bytes)],
  ["Our window", (tcp) => bytes(tcp.recv_window_bytes)],
  ["Segment payload", (tcp) => `${count(tcp.mss)} B`],
  ["Pacing rate", (tcp) => (tcp.pacing_bytes_per_second === null ? "not paced" : bits(tcp.pacing_bytes_per_second))],
  ["Delivery rate", (tcp) => (tcp.delivery_bytes_per_second === null ? "–" : bits(tcp.delivery_bytes_per_second))],
  ["Busy sending", (tcp) => micros(tcp.busy_micros)],
  ["of it held back by the peer's window", (tcp) => micros(tcp.recv_window_limited_micros)],
  ["of it held back by the program", (tcp) => micros(tcp.send_buffer_limited_micros)],
  ["Received", (tcp) => bytes(tcp.bytes_received)],
  ["Acknowledged", (tcp) => bytes(tcp.bytes_acked)],
  ["Retransmitted", (tcp) => `${count(tcp.retransmits)} segments`],
  ["Timeouts, recoveries", (tcp) => `${count(tcp.timeouts)}, ${count(tcp.recoveries)}`],
  ["Out of order", (tcp) => bytes(tcp.out_of_order_bytes)],
  ["Memory held", (_, row) => bytes(row.memory_bytes)],
];

/** Returns how far `seq` is from `from`, modulo 2^32. */
const distance = (seq, from) => (seq - from) | 0;

const EVENT_NAMES = {
  "state-changed": (one) => `${one.from} → ${one.to}`,
  "segment-lost": (one) => `${bytes(one.len)} by rule ${one.rule}`,
  "recovery-entered": (one) => one.kind,
  "retransmission-timeout": (one) => `${one.count} in a row`,
  undone: (one) => one.evidence,
  "congestion-window": (one) => `${bytes(one.cwnd)}, ${one.reason}`,
  "mss-changed": (one) => `${one.mss} bytes, ${one.reason}`,
  "segment-dropped": (one) => one.reason,
  "peer-window-opened": (one) => bytes(one.window),
  "tail-loss-probe": (one) => bytes(one.len),
  "congestion-marks": (one) => count(one.packets),
  ended: (one) => one.error,
};
const BAD = new Set(["segment-lost", "retransmission-timeout", "ended"]);
const WARN = new Set(["recovery-entered", "tail-loss-probe", "peer-window-closed", "segment-dropped", "congestion-marks", "undone"]);

function eventLine(event) {
  const name = event.event.replaceAll("-", " ");
  const more = EVENT_NAMES[event.event]?.(event.fields) ?? "";
  const colour = BAD.has(event.event) ? "c-bad" : WARN.has(event.event) ? "c-warn" : "";
  return el("li", {},
    el("time", {}, clock(event.at_micros / 1000, true)),
    el("span", {}, el("span", { class: colour }, name), el("small", {}, more)));
}

const SENT = [
  { name: "acknowledged", colour: "c-good" },
  { name: "sent", colour: "c-in" },
  { name: "peer's window ends", colour: "c-soft", isDash: true },
];
const RECEIVED = [
  { name: "received in order", colour: "c-in" },
  { name: "our window ends", colour: "c-soft", isDash: true },
];
const LOST = { name: "taken for lost", colour: "c-bad" };
const ROUND_TRIPS = [
  { name: "smoothed", colour: "c-in" },
  { name: "with deviation", colour: "c-soft", isThin: true },
  { name: "least", colour: "c-good", isDash: true },
];
const WINDOWS = [
  { name: "congestion window", colour: "c-out" },
  { name: "in flight", colour: "c-in", isArea: true },
  { name: "threshold", colour: "c-soft", isDash: true },
];
const RATES = [
  { name: "received", colour: "c-in", isArea: true },
  { name: "acknowledged", colour: "c-out", isArea: true, isDown: true },
];

/** Returns the rates between samples that are half a second apart: a tenth is too short for them. */
function ratesOf(samples) {
  return samples.slice(5).map((one, index) => {
    const before = samples[index];
    const seconds = Math.max((one.t - before.t) / 1000, 0.001);
    const rate = (name) => Math.max(one.tcp[name] - before.tcp[name], 0) / seconds;
    return { t: one.t, values: [rate("bytes_received"), rate("bytes_acked")] };
  });
}

export function start(root, query) {
  const [local, peer] = [query.get("local") ?? "", query.get("peer") ?? ""];
  const chip = el("span", { class: "chip" }, "connecting");
  const recovery = el("span", { class: "chip c-warn", hidden: true });
  const told = el("p", { class: "meta", role: "status" });
  const facts = FACTS.map(([name]) => [el("dt", {}, name), el("dd", {}, "–")]);
  const sent = chart({ label: "Bytes sent over time", series: SENT, format: bytes, height: 300, seconds: 10, isBinary: true, isFit: true, band: [1, 0] });
  const received = chart({ label: "Bytes received over time", series: RECEIVED, format: bytes, height: 300, seconds: 10, isBinary: true, isFit: true });
  const trips = chart({ label: "Round-trip times", series: ROUND_TRIPS, format: (value) => (value ? micros(value) : "0"), height: 210, seconds: 10, least: 100 });
  const windows = chart({ label: "Windows", series: WINDOWS, format: bytes, height: 210, seconds: 10, isBinary: true });
  const rates = chart({ label: "Throughput of the connection", series: RATES, format: bits, unit: 8, height: 210, seconds: 10, least: 125 });
  const all = [sent, received, trips, windows, rates];
  const log = el("ol", { class: "log", tabindex: "0", "aria-label": "Events" });
  const quiet = empty("Nothing has happened", el("p", {}, "Changes of state, losses, recoveries and the like are listed from now on."));
  quiet.hidden = false;
  let direction = null;
  const keys = el("div", { class: "key" });
  const turn = (wanted) => {
    direction = wanted;
    sent.node.hidden = wanted !== "sent";
    received.node.hidden = wanted === "sent";
    keys.replaceChildren(key(wanted === "sent" ? [...SENT, LOST] : RECEIVED));
  };
  const directions = segments("Direction", [["sent", "Sent"], ["received", "Received"]], "sent", turn);
  const press = (wanted) => [...directions.children].forEach((one, at) => one.setAttribute("aria-pressed", String((at === 0) === (wanted === "sent"))));
  turn("sent");
  direction = null;
  const widths = segments("Time shown", [[10, "10 s"], [30, "30 s"], [120, "2 min"]], 10, (seconds) => all.forEach((one) => one.setSeconds(seconds)));
  const body = el("div", { class: "grid" },
    card("Sequence numbers over time", { aside: el("div", { class: "key" }, keys, directions, widths) }, sent.node, received.node),
    card("Round trips", { span: "c6", aside: key(ROUND_TRIPS) }, trips.node),
    card("Windows", { span: "c6", aside: key(WINDOWS) }, windows.node),
    card("Throughput", { span: "c6", aside: key(RATES) }, rates.node),
    card("Events", { span: "c6" }, log, quiet),
    card("State", {}, el("dl", { class: "facts" }, ...facts.map((pair) => el("div", {}, ...pair)))),
  );
  const gone = el("div", { class: "card", hidden: true });
  root.append(
    el("div", { class: "head" },
      el("div", { class: "title" }, el("a", { class: "button", href: "#/flows" }, "Flows"), el("h1", {}, local, el("span", { class: "arrow" }, "↔"), peer), chip, recovery),
      told),
    gone, body);

  const samples = [];
  const marks = [];
  const show = () => {
    const last = samples.at(-1);
    if (!last) return;
    sent.update(samples.map(({ t, tcp }) => ({ t, values: [tcp.bytes_acked, tcp.bytes_acked + tcp.in_flight_bytes, tcp.bytes_acked + tcp.send_window_bytes] })), marks);
    received.update(samples.map(({ t, tcp }) => ({ t, values: [tcp.bytes_received, tcp.bytes_received + tcp.recv_window_bytes] })));
    trips.update(samples.map(({ t, tcp }) => ({ t, values: tcp.srtt_micros ? [tcp.srtt_micros, tcp.srtt_micros + 4 * tcp.rttvar_micros, tcp.min_rtt_micros || null] : [null, null, null] })));
    windows.update(samples.map(({ t, tcp }) => ({ t, values: [tcp.cwnd_bytes, tcp.in_flight_bytes, tcp.ssthresh_bytes >= SSTHRESH_NONE || tcp.ssthresh_bytes > 4 * tcp.cwnd_bytes ? null : tcp.ssthresh_bytes] })));
    rates.update(ratesOf(samples));
    FACTS.forEach(([, text], at) => say(facts[at][1], text(last.tcp, last.row)));
    stateChip(last.row.state, chip);
    recovery.hidden = !last.tcp.recovery;
    say(recovery, `recovery: ${last.tcp.recovery ?? ""}`);
  };
  const take = ({ at_micros: at, row, events, lost }) => {
    if (row?.tcp) {
      samples.push({ t: at / 1000, tcp: row.tcp, row });
      samples.splice(0, samples.length - KEPT);
      const busy = row.tcp.bytes_received > row.tcp.bytes_acked ? "received" : "sent";
      if (direction === null && samples.length > 1) {
        turn(busy);
        press(busy);
      }
    }
    const tcp = samples.at(-1)?.tcp;
    for (const event of events) {
      if (event.event === "segment-lost" && tcp) {
        const from = tcp.bytes_acked + distance(event.fields.seq, tcp.first_unacked);
        marks.push({ t: event.at_micros / 1000, from, to: from + event.fields.len });
      }
      log.prepend(eventLine(event));
    }
    marks.splice(0, marks.length - 1000);
    while (log.children.length > EVENTS) log.lastElementChild.remove();
    if (events.length) quiet.hidden = true;
    if (lost) say(told, `${count(lost)} events were too many for this page`);
    show();
  };

  const end = (heading, sentence) => {
    chip.className = "chip";
    say(chip, "ended");
    if (samples.length) return say(told, `${heading}: what is shown is its last state`);
    body.hidden = true;
    gone.hidden = false;
    gone.replaceChildren(empty(heading, el("p", {}, sentence), el("a", { class: "button", href: "#/flows" }, "All flows")));
  };
  const path = `/api/flow?${new URLSearchParams({ local, peer })}`;
  let source = null;
  let timer;
  const open = async () => {
    source = new EventSource(path);
    source.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      take(message);
      if (!message.row) {
        source.close();
        end("The connection has ended", "Its four-tuple is free again.");
      }
    };
    source.onerror = async () => {
      const isOver = source.readyState === EventSource.CLOSED;
      if (!isOver) return;
      source.close();
      // The stream itself does not say why.
      const answer = await fetch(path).catch(() => null);
      const status = answer?.status;
      await answer?.body?.cancel();
      if (status === 404 || status === 400) return end("There is no such connection", "It has ended, or never was. Connections in TIME-WAIT and half-open ones have no page.");
      say(told, status === 503 ? "Too many connections are watched: close another page of one" : "No answer: trying again");
      timer = setTimeout(open, 5000);
    };
  };
  const seen = () => {
    clearTimeout(timer);
    source?.close();
    if (!document.hidden) open();
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    document.removeEventListener("visibilitychange", seen);
    clearTimeout(timer);
    source?.close();
  };
}
