// Every socket: search, states, order.
import { card, el, empty, say } from "/lib/dom.js";
import { poll } from "/lib/data.js";
import { bits, bytes, count, micros } from "/lib/units.js";
import { table } from "/lib/table.js";

export const title = "Flows";

const ROWS = 100;
const COLOURS = { ESTAB: "c-good", LISTEN: "c-in", "TIME-WAIT": "", "SYN-RECV": "c-warn", "SYN-SENT": "c-warn" };
const SHORT = {
  established: "ESTAB", "syn-sent": "SYN-SENT", "syn-recv": "SYN-RECV", "fin-wait-1": "FIN-WAIT-1", "fin-wait-2": "FIN-WAIT-2",
  "time-wait": "TIME-WAIT", closed: "UNCONN", "close-wait": "CLOSE-WAIT", "last-ack": "LAST-ACK", listening: "LISTEN", closing: "CLOSING",
};

/** Makes a chip with a state. */
export function stateChip(state, old) {
  const text = SHORT[state] ?? state;
  const node = old ?? el("span");
  node.className = `chip ${COLOURS[text] ?? ""}`;
  say(node, text);
  return node;
}

const linkTo = (row) => `#/flow?${new URLSearchParams({ local: row.local, peer: row.peer })}`;

const peerCell = (row, old) => {
  if (!row.peer) return "*";
  if (!row.tcp) {
    const node = old instanceof Element && old.tagName === "SPAN" ? old : el("span", { class: "mono" });
    say(node, row.peer);
    return node;
  }
  const node = old instanceof Element && old.tagName === "A" ? old : el("a", { class: "mono" });
  node.setAttribute("href", linkTo(row));
  say(node, row.peer);
  return node;
};

const localCell = (row, old) => {
  const node = old ?? el("span", { class: "mono" });
  say(node, row.local);
  return node;
};

const queueText = (row) => {
  if (row.timer) return `${Math.ceil(row.timer.remaining_millis / 1000)} s left`;
  if (row.state === "listening") return `${row.recv_q} + ${row.send_q} wait`;
  if (row.datagrams) return `${count(row.datagrams[0])} received, ${count(row.datagrams[1])} lost`;
  return row.recv_q || row.send_q ? `${bytes(row.recv_q)} / ${bytes(row.send_q)}` : "–";
};

/** Makes the table of flows. */
export function flowTable(label, { order, choose }) {
  const sort = (name) => (choose ? name : undefined);
  const tcp = (get, format) => (row) => (row.tcp ? format(get(row.tcp)) : "–");
  return table({
    label,
    order,
    choose,
    keyOf: (row, index) => (row.peer ? `${row.netid} ${row.local} ${row.peer}` : `${row.netid} ${row.local} ${index}`),
    columns: [
      { title: "Peer", sort: sort("peer"), cell: peerCell },
      { title: "Local", sort: sort("local"), cell: localCell },
      { title: "State", sort: sort("state"), cell: (row, old) => stateChip(row.state, old) },
      { title: "In", sort: sort("rate_in"), isNumber: true, cell: (row) => (row.tcp ? bits(row.rate_in) : "–") },
      { title: "Out", sort: sort("rate_out"), isNumber: true, cell: (row) => (row.tcp ? bits(row.rate_out) : "–") },
      { title: "Bytes", sort: sort("bytes"), isNumber: true, hint: "Received and acknowledged", cell: tcp((one) => one.bytes_received + one.bytes_acked, bytes) },
      { title: "RTT", sort: sort("rtt"), isNumber: true, cell: tcp((one) => one.srtt_micros, micros) },
      { title: "Retrans", sort: sort("retransmits"), isNumber: true, cell: tcp((one) => one.retransmits, count) },
      { title: "Memory", sort: sort("memory"), isNumber: true, cell: (row) => (row.memory_bytes ? bytes(row.memory_bytes) : "–") },
      { title: "Waiting", isNumber: true, hint: "Bytes that wait to be read / to be sent and acknowledged", cell: queueText },
      { title: "Worker", sort: sort("worker"), isNumber: true, isName: true, cell: (row) => (row.worker === null ? "–" : String(row.worker)) },
    ],
  });
}

const field = (label, control) => el("label", { class: "field" }, label, control);
const options = (pairs) => pairs.map(([value, text]) => el("option", { value }, text));

export function start(root) {
  const wish = { sort: "rate", ascending: false, offset: 0 };
  const search = el("input", { type: "search", placeholder: "Address or port", maxlength: "60", spellcheck: "false" });
  const netid = el("select", {}, ...options([["", "TCP, UDP, ICMP"], ["tcp", "TCP"], ["udp", "UDP"], ["icmp", "ICMP echo"]]));
  const state = el("select", {}, ...options([
    ["connected", "Connected"], ["all", "All"], ["listening", "Listening"], ["brief", "Half-open and TIME-WAIT"],
    ["established", "Established"], ["close-wait", "CLOSE-WAIT"], ["closed", "Unconnected"],
  ]));
  const told = el("p", { class: "end", role: "status" });
  const choose = (sort) => {
    const isText = ["peer", "local", "state", "worker"].includes(sort);
    wish.ascending = wish.sort === sort ? !wish.ascending : isText;
    wish.sort = sort;
    wish.offset = 0;
    view.showOrder(wish);
    stop.again();
  };
  const view = flowTable("Flows", { order: wish, choose });
  const none = empty("No socket is like that", el("p", {}, "Choose another state or protocol, or search for less. Sockets of this daemon appear here as soon as they exist; half-open connections and those in TIME-WAIT have a state of their own in the list above."));
  none.hidden = true;
  const back = el("button", { class: "button", type: "button", onclick: () => turn(-ROWS) }, "Previous");
  const next = el("button", { class: "button", type: "button", onclick: () => turn(ROWS) }, "Next");
  const place = el("span");
  const pages = el("div", { class: "pages" }, back, next, place);
  const turn = (by) => {
    wish.offset = Math.max(wish.offset + by, 0);
    stop.again();
  };
  const changed = () => {
    wish.offset = 0;
    stop.again();
  };
  search.addEventListener("input", changed);
  netid.addEventListener("change", changed);
  state.addEventListener("change", changed);
  root.append(
    el("div", { class: "head" }, el("h1", {}, title)),
    card("Sockets of the stack", { flush: true },
      el("div", { class: "tools" }, field("Search", search), field("Protocol", netid), field("State", state), told),
      view.node, none, pages),
  );
  const path = () => {
    const query = new URLSearchParams({ sort: wish.sort, ascending: wish.ascending, offset: wish.offset, limit: ROWS, state: state.value });
    if (search.value.trim()) query.set("search", search.value.trim());
    if (netid.value) query.set("netid", netid.value);
    return `/api/flows?${query}`;
  };
  const stop = poll(path, 1500, (page) => {
    if (wish.offset >= page.matched && wish.offset > 0) turn(-ROWS);
    view.update(page.rows);
    view.node.hidden = page.rows.length === 0;
    none.hidden = page.rows.length > 0;
    const left = page.omitted ? `, ${count(page.omitted)} more left out` : "";
    say(told, `${count(page.matched)} of ${count(page.total)} sockets${left}`);
    pages.hidden = page.matched <= ROWS;
    back.disabled = wish.offset === 0;
    next.disabled = wish.offset + ROWS >= page.matched;
    say(place, `${count(wish.offset + 1)} to ${count(Math.min(wish.offset + ROWS, page.matched))}`);
  }, (error) => say(told, error.message));
  return stop;
}
