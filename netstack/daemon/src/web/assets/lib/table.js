// Tables whose rows stay where they are while their numbers change: a focused link keeps its focus.
import { el, say } from "/lib/dom.js";

/**
 * Makes a table. `columns`: { title, isNumber, isName, sort, cell(row, old) }; a cell is text, or an element that the next
 * call gets as `old` and may return again. `keyOf(row)` names a row. With `sort` in a column its title is a button.
 */
export function table({ label, columns, keyOf, order, choose }) {
  const body = el("tbody");
  const titles = columns.map((column) => {
    const title = column.sort
      ? el("button", { type: "button", onclick: () => choose(column.sort) }, column.title)
      : column.title;
    return el("th", { scope: "col", class: column.isNumber ? "num" : null, title: column.hint }, title);
  });
  const node = el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, el("tr", {}, ...titles)), body),
  );
  let kept = new Map();

  const showOrder = ({ sort, ascending }) => {
    columns.forEach((column, index) => {
      if (column.sort === sort) titles[index].setAttribute("aria-sort", ascending ? "ascending" : "descending");
      else titles[index].removeAttribute("aria-sort");
    });
  };

  const make = () => {
    const cells = columns.map((column) => el("td", { class: [column.isNumber && "num", column.kind].filter(Boolean).join(" ") || null }));
    return { node: el("tr", {}, ...cells), cells, olds: columns.map(() => undefined) };
  };

  const update = (rows) => {
    const next = new Map();
    const focused = document.activeElement;
    rows.forEach((row, index) => {
      const name = keyOf(row, index);
      const line = kept.get(name) ?? make();
      next.set(name, line);
      columns.forEach((column, place) => {
        const content = column.cell(row, line.olds[place]);
        const cell = line.cells[place];
        if (content instanceof Node) {
          if (content.parentNode !== cell) cell.replaceChildren(content);
        } else {
          say(cell, content);
          cell.classList.toggle("zero", !column.isName && (content === "0" || content === "–"));
        }
        line.olds[place] = content;
      });
    });
    for (const [name, line] of kept) if (!next.has(name)) line.node.remove();
    let place = body.firstElementChild;
    for (const line of next.values()) {
      if (line.node === place) place = place.nextElementSibling;
      else body.insertBefore(line.node, place);
    }
    kept = next;
    // A row that was moved has lost its focus.
    if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
  };
  if (order) showOrder(order);
  return { node, update, showOrder };
}

/** Makes or changes a cell with a bar and its share. */
export function bar(share, text, old, colour = "c-in") {
  const node = old ?? el("div", { class: "busy" }, el("span", { class: `meter ${colour}` }, el("i")), el("span", { class: "num" }));
  node.querySelector("i").style.width = `${Math.min(share * 100, 100).toFixed(1)}%`;
  say(node.lastElementChild, text);
  return node;
}
