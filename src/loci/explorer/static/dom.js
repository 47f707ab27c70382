// Elements, made by code alone: text always becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value" && "value" in node) node.value = value;
    else if (name === "width" && node instanceof HTMLElement) node.style.width = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  add(node, children);
  return node;
}

export function add(node, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);
export const clear = (node) => { node.replaceChildren(); return node; };

// A token as it reads: a space at its start is shown where it matters, what is invisible gets a name.
export function token(text) {
  const plain = text.replace(/^ /, "");
  if (plain.trim() === "") return JSON.stringify(text);
  return plain.replace(/\n/g, "⏎").replace(/\t/g, "⇥");
}

// Digits without a sign where they are all 0.
const plain = (value, digits) => { const said = value.toFixed(digits); return Number(said) === 0 ? said.replace("-", "") : said.replace("-", "−"); };
export const percent = (value, digits = 1) =>
  value === null || value === undefined || Number.isNaN(value) ? "–" : `${plain(100 * value, digits)}%`;
export const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits });
export const signed = (value, digits = 2) =>
  value === null || value === undefined ? "–" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

// Words for ears: what has just happened.
export function announce(text) {
  const live = document.getElementById("live");
  if (live) live.textContent = text;
}
