// Elements. Text enters as text alone, so what a peer sends cannot become markup.

/** Makes an element: el("p", { class: "lead", title: "…", onclick }, "text", child). */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  apply(node, props);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Makes an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function apply(node, props) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) node.removeAttribute(name);
    else node.setAttribute(name, value === true ? "" : value);
  }
}

/** Sets an element's text if it differs. */
export function say(node, text) {
  const next = String(text);
  if (node.textContent !== next) node.textContent = next;
}

/** Makes a card with a heading, and `aside` beside it. */
export function card(title, { aside, flush, span } = {}, ...children) {
  const classes = ["card", flush && "flush", span].filter(Boolean).join(" ");
  return el("section", { class: classes }, el("header", {}, el("h2", {}, title), aside ?? ""), ...children);
}

/** Makes a group of buttons of which one is pressed. */
export function segments(label, options, chosen, choose) {
  const group = el("div", { class: "segments", role: "group", "aria-label": label });
  fillSegments(group, options, chosen, choose);
  return group;
}

/** Fills such a group. */
export function fillSegments(group, options, chosen, choose) {
  const buttons = options.map(([value, text]) => {
    const press = () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      choose(value);
    };
    const button = el("button", { type: "button", "aria-pressed": String(value === chosen), onclick: press }, text);
    return button;
  });
  group.replaceChildren(...buttons);
}

/** Makes what is shown where there is nothing: what that means, and what to do. */
export function empty(title, ...lines) {
  return el("div", { class: "empty" }, el("strong", {}, title), ...lines);
}
