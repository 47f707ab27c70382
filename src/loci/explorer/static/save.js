// What a view gives away: the clipboard, JSON, CSV, SVG, PNG, and the whole view as one HTML file.

import { announce } from "./dom.js";
import { t } from "./strings.js";

export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 2000);
}

export async function copy(text) {
  try { await navigator.clipboard.writeText(text); }
  catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  announce(t("copied"));
}

const KEPT = ["fill", "stroke", "stroke-width", "font-size", "font-family", "font-weight", "text-anchor", "dominant-baseline", "opacity"];

// A drawing that stands alone: what style sheets gave it becomes attributes.
export function svgText(svg) {
  const copied = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")], to = [copied, ...copied.querySelectorAll("*")];
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const name of KEPT) if (style.getPropertyValue(name)) to[i].setAttribute(name, style.getPropertyValue(name));
  });
  const box = svg.viewBox.baseVal;
  copied.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copied.setAttribute("width", box.width);
  copied.setAttribute("height", box.height);
  const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  ground.setAttribute("width", "100%");
  ground.setAttribute("height", "100%");
  ground.setAttribute("fill", getComputedStyle(document.body).getPropertyValue("--paper").trim() || "#fff");
  copied.prepend(ground);
  return new XMLSerializer().serializeToString(copied);
}

export async function png(svg, name) {
  const box = svg.viewBox.baseVal, scale = 2;
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svgText(svg)], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = box.width * scale;
  canvas.height = box.height * scale;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  canvas.toBlob((blob) => download(name, blob, "image/png"));
}

const cell = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
export const csv = (rows) => rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";

// The view as it stands: one file without scripts that opens anywhere.
export async function wholeView(title) {
  const style = await (await fetch("page.css")).text();
  const main = document.getElementById("content").cloneNode(true);
  main.querySelectorAll(".tools, form, script").forEach((node) => node.remove());
  const page = document.implementation.createHTMLDocument(title);
  page.documentElement.lang = "en";
  page.documentElement.dataset.theme = document.documentElement.dataset.theme || "";
  const meta = page.createElement("meta");
  meta.setAttribute("charset", "utf-8");
  page.head.prepend(meta);
  page.body.append(main);
  // as text: this page's policy lets no style sheet be made here
  const html = page.documentElement.outerHTML.replace("</head>", () => `<style>${style}</style></head>`);
  download(`${title.replace(/\W+/g, "-").toLowerCase()}.html`, `<!doctype html>\n${html}`, "text/html");
}
