// The frame: pages by the part of the address behind #, the theme, the state of the connection.
import { el, fillSegments, say } from "/lib/dom.js";
import { follow, store, watch } from "/lib/data.js";
import { count } from "/lib/units.js";
import * as overview from "/pages/overview.js";
import * as flows from "/pages/flows.js";
import * as flow from "/pages/flow.js";
import * as drops from "/pages/drops.js";
import * as locks from "/pages/locks.js";
import * as buffers from "/pages/buffers.js";
import * as config from "/pages/config.js";

const PAGES = { "": overview, flows, flow, drops, locks, buffers, config };
const NAV = [
  ["", "Overview"],
  ["flows", "Flows"],
  ["drops", "Drops"],
  ["locks", "Locks"],
  ["buffers", "Buffers"],
  ["config", "Configuration"],
];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const badges = { flows: el("span", { class: "badge" }), drops: el("span", { class: "badge" }) };
const links = NAV.map(([name, text]) => el("a", { href: `#/${name}`, "data-page": name }, text, badges[name] ?? ""));
nav.append(...links);

let stop = () => {};
let isFirst = true;

/** Shows the page that the address names. */
function show() {
  const [name, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const page = PAGES[name] ?? overview;
  stop();
  main.replaceChildren();
  stop = page.start(main, new URLSearchParams(query)) ?? (() => {});
  document.title = `${page.title} · netstackd`;
  for (const link of links) {
    const isHere = link.dataset.page === (name === "flow" ? "flows" : name in PAGES ? name : "");
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!isFirst) main.focus({ preventScroll: true });
  if (!isFirst) scrollTo(0, 0);
  isFirst = false;
}

addEventListener("hashchange", show);
show();

const live = document.getElementById("live");
follow((isOn, why) => {
  live.dataset.state = isOn ? "on" : "off";
  live.title = why ?? "";
  say(live, isOn ? "Live" : "No answer: is the daemon running?");
});
watch(() => {
  const { daemon, gauges } = store.now;
  say(document.getElementById("tun"), `${daemon.tun} · ${daemon.version}`);
  say(badges.flows, count(gauges.connections));
  const [before, last] = [store.samples.at(-4), store.samples.at(-1)];
  const dropped = before && last ? last.values[store.columns.dropped] - before.values[store.columns.dropped] : 0;
  say(badges.drops, dropped > 0 ? "now" : "");
  badges.drops.className = dropped > 0 ? "badge c-bad" : "badge";
});

const chosen = document.documentElement.dataset.theme ?? "system";
fillSegments(document.getElementById("theme"), [["system", "System"], ["light", "Light"], ["dark", "Dark"]], chosen, (theme) => {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // It is forgotten with the page.
  }
});
