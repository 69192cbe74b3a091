// The configuration that is in force, and where each value came from.
import { card, el, empty, say, segments } from "/lib/dom.js";
import { poll } from "/lib/data.js";
import { count } from "/lib/units.js";
import { table } from "/lib/table.js";

export const title = "Configuration";

const text = (value, kind) => (old) => {
  const node = old ?? el("span", { class: kind });
  say(node, value);
  return node;
};

export function start(root) {
  let keys = [];
  let isAll = true;
  const search = el("input", { type: "search", placeholder: "Key, value or origin", maxlength: "60", spellcheck: "false" });
  const told = el("p", { class: "end", role: "status" });
  const view = table({
    label: "Keys",
    keyOf: (one) => one.key,
    columns: [
      { title: "Key", cell: (one, old) => text(one.key, "mono")(old) },
      { title: "Value", kind: "value", cell: (one, old) => text(one.value || "none", one.value ? "mono" : "c-soft")(old) },
      {
        title: "Origin",
        cell: (one, old) => {
          const node = text(one.origin, "chip")(old);
          node.className = one.is_default ? "chip" : "chip c-in";
          return node;
        },
      },
      { title: "On SIGHUP", hint: "Changes while the daemon runs", cell: (one) => (one.is_changeable ? "at once" : "–") },
    ],
  });
  const none = empty("No key is like that", el("p", {}, "Search for less, or show all keys. Values are set in the file, by the environment or by flags:"), el("code", {}, "netstackd config example"));
  none.hidden = true;
  const show = () => {
    const wanted = search.value.trim().toLowerCase();
    const isWanted = (one) => (isAll || !one.is_default) && `${one.key} ${one.value} ${one.origin}`.toLowerCase().includes(wanted);
    const rows = keys.filter(isWanted);
    view.update(rows);
    view.node.hidden = rows.length === 0;
    none.hidden = rows.length > 0 || keys.length === 0;
    say(told, `${count(rows.length)} of ${count(keys.length)} keys, ${count(keys.filter((one) => !one.is_default).length)} set`);
  };
  search.addEventListener("input", show);
  const which = segments("Keys", [["all", "All"], ["set", "Set"]], "all", (one) => {
    isAll = one === "all";
    show();
  });
  root.append(
    el("div", { class: "head" }, el("h1", {}, title), el("p", { class: "meta" }, "Flags win over the environment, and that over the file")),
    card("Keys in force", { flush: true },
      el("div", { class: "tools" }, el("label", { class: "field" }, "Search", search), el("div", { class: "field" }, "Show", which), told),
      view.node, none),
  );
  return poll(() => "/api/config", 5000, (answer) => {
    keys = answer.keys;
    show();
  });
}
