// A line without axes, beside a number.
import { svg } from "/lib/dom.js";

/** Makes a sparkline of a colour class; `update(values)` draws. */
export function spark(colour, { width = 240, height = 40, isFilled = true } = {}) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line thin", "vector-effect": "non-scaling-stroke" });
  const node = svg(
    "svg",
    { class: `spark ${colour}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area,
    line,
  );
  node.style.height = `${height}px`;
  const update = (values) => {
    if (values.length < 2) {
      line.setAttribute("d", "");
      area.setAttribute("d", "");
      return;
    }
    const most = Math.max(...values, 1e-9);
    const step = width / (values.length - 1);
    const place = (value, index) => `${(index * step).toFixed(1)} ${(height - 2 - (value / most) * (height - 5)).toFixed(1)}`;
    const path = `M${values.map(place).join("L")}`;
    line.setAttribute("d", path);
    area.setAttribute("d", isFilled ? `${path}L${width} ${height}L0 ${height}Z` : "");
  };
  return { node, update };
}
