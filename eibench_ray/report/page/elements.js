// Elements of the page. All text goes in as text: nothing that a model, a file or a user said is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const drawing = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

function select(label, options, value, onchange) {
  const box = element(
    "select",
    { "aria-label": label, onchange: () => onchange(box.value) },
    options.map(([key, text]) => element("option", { value: key, selected: String(key) === String(value) }, text)),
  );
  return element("label", { class: "field" }, element("span", {}, label), box);
}

function folded(title, ...content) {
  return element("details", {}, element("summary", {}, title), ...content);
}

/** A table that scrolls by itself where it is too wide. Heads and cells are lists of content; a row's first cell names it. */
function table(label, heads, rows, className = "wide") {
  const head = heads.map((content) => element("th", { scope: "col" }, content));
  const lines = rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((content) => element("td", {}, content))),
  );
  return element(
    "div",
    { class: className, tabindex: "0", role: "region", "aria-label": label },
    element("table", {}, element("thead", {}, element("tr", {}, head)), element("tbody", {}, lines)),
  );
}

const uniquely = (values) => [...new Set(values)];
const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
