// Drawings, as SVG: a grid of cells, bars, lines. Colours come from the style sheet, and none of them says a thing alone.

import { h, s, percent, token } from "./dom.js";
import { t } from "./strings.js";

const root = (width, height, label) =>
  s("svg", { class: "figure", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });

// From paper to ink, in one hue whose lightness falls evenly: the order is seen without seeing colours.
const SHADES = 9;
export const shade = (share) => `c${Math.max(0, Math.min(SHADES, Math.round(SHADES * share)))}`;

export const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// A chart's title; where it is wider than the chart, its letters stand closer.
function caption(title, x, width) {
  const room = width - x - 6, needs = title.length * 8;
  const tight = needs > room && needs < 1.5 * room ? { textLength: room, lengthAdjust: "spacingAndGlyphs" } : {};
  return s("text", { x, y: 14, class: "caption", ...tight }, title);
}

// A grid of values [row][column] with labels; one tab stop, arrow keys move, Enter is a click.
export function grid({ values, rows, columns, title, max, cell = 22, label, onpick, onhover, picked, marked = () => false, wide = 640 }) {
  const across = columns.length, most = Math.max(...rows.map((text) => clip(text, 14).length), 3);
  const left = Math.min(118, 8 + 7.2 * most), top = 22;
  const size = Math.max(7, Math.min(cell, Math.floor((wide - left) / Math.max(1, across))));
  const high = Math.min(cell, 24);
  const width = left + across * size + 6, height = top + rows.length * high + 20;
  const svg = root(width, height, title);
  svg.classList.add("grid");
  svg.setAttribute("role", "application");
  svg.setAttribute("tabindex", "0");
  svg.append(caption(title, left, width));
  const cells = [];
  rows.forEach((name, r) => {
    svg.append(s("text", { x: left - 6, y: top + r * high + high / 2 + 4, class: marked(r) ? "axis strong" : "axis", "text-anchor": "end" }, clip(name, 14)));
    cells.push(values[r].map((value, c) => {
      const rect = s("rect", {
        x: left + c * size, y: top + r * high, width: size - 1, height: high - 1, rx: 2,
        class: value === null ? "cell none" : `cell ${shade(Math.max(0, value) / (max || 1))}`, data: { row: r, column: c },
      });
      rect.append(s("title", {}, label(r, c)));
      svg.append(rect);
      return rect;
    }));
  });
  const every = Math.ceil(across / Math.max(1, Math.floor((across * size) / 22))), letters = Math.max(2, Math.floor((every * size) / 7.2));
  columns.forEach((name, c) => {
    if (c % every === 0) svg.append(s("text", { x: left + c * size + size / 2, y: top + rows.length * high + 13, class: "axis", "text-anchor": "middle" }, name.slice(0, letters)));
  });
  const ring = s("rect", { class: "ring", width: size + 1, height: high + 1, rx: 3, visibility: "hidden" });
  svg.append(ring);
  let at = picked || null;
  const move = (r, c, tell = true) => {
    at = [r, c];
    ring.setAttribute("x", left + c * size - 1);
    ring.setAttribute("y", top + r * high - 1);
    ring.setAttribute("visibility", "visible");
    if (tell) { onhover?.(r, c); svg.setAttribute("aria-label", `${title}. ${label(r, c)}`); }
  };
  if (at) move(...at, false);
  const where = (event) => {
    const found = event.target.closest?.("rect.cell");
    return found ? [Number(found.dataset.row), Number(found.dataset.column)] : null;
  };
  svg.addEventListener("pointermove", (event) => { const place = where(event); if (place) onhover?.(...place); });
  svg.addEventListener("click", (event) => { const place = where(event); if (place) { move(...place); onpick?.(...place); } });
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter" && at) { onpick?.(...at); event.preventDefault(); return; }
    if (!steps[event.key]) return;
    event.preventDefault();
    const [r, c] = at || [0, 0], [dr, dc] = at ? steps[event.key] : [0, 0];
    move(Math.max(0, Math.min(rows.length - 1, r + dr)), Math.max(0, Math.min(across - 1, c + dc)));
  });
  return svg;
}

// A width that a panel has room for.
export const fit = (panel, width) => Math.max(240, Math.min(width, (panel.body.clientWidth || width) - 4));

// Words with bars: the share stands beside each, so that the bar is not alone.
export function bars(items, { most = 1, form = percent, onpick, mark = () => false } = {}) {
  return h("ol", { class: "bars" }, items.map((item, i) => {
    const line = [
      h("span", { class: "word" }, token(item.token)),
      h("span", { class: "track" }, h("span", { class: mark(item, i) ? "fill hot" : "fill", width: `${Math.max(0.4, (100 * item.value) / (most || 1))}%` })),
      h("span", { class: "value" }, form(item.value)),
    ];
    return h("li", {}, onpick ? h("button", { type: "button", on: { click: () => onpick(item, i) } }, line) : line);
  }));
}

// Lines over layers or angles. Series: {name, points: [[x, y]]}; each has its own dash besides its colour.
export function lines(series, { title, x, y, width = 520, height = 220, xs, ys, log = false, names }) {
  const svg = root(width, height, title);
  const box = { left: 52, right: width - 12, top: 26, bottom: height - 38 };
  const all = series.flatMap((one) => one.points);
  const [x0, x1] = xs || [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))];
  const tall = (v) => (log ? Math.log10(Math.max(v, 1e-12)) : v);
  const [y0, y1] = (ys || [Math.min(0, ...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))]).map(tall);
  const px = (v) => box.left + ((v - x0) / (x1 - x0 || 1)) * (box.right - box.left);
  const py = (v) => box.bottom - ((tall(v) - y0) / (y1 - y0 || 1)) * (box.bottom - box.top);
  svg.append(caption(title, 4, width));
  for (let i = 0; i <= 4; i += 1) {
    const v = y0 + ((y1 - y0) * i) / 4, at = box.bottom - ((box.bottom - box.top) * i) / 4;
    svg.append(s("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "rule" }));
    svg.append(s("text", { x: box.left - 6, y: at + 4, class: "axis", "text-anchor": "end" }, log ? `1e${Math.round(v)}` : Number(v.toPrecision(3))));
  }
  const whole = all.every(([a]) => Number.isInteger(a));
  const every = whole ? Math.ceil((x1 - x0 + 1) / 8) : (x1 - x0) / 4;
  for (let u = x0; u <= x1 + 1e-9; u += every)
    svg.append(s("text", { x: px(u), y: box.bottom + 15, class: "axis", "text-anchor": "middle" }, names?.(u) ?? Number(u.toPrecision(3))));
  svg.append(s("text", { x: (box.left + box.right) / 2, y: height - 6, class: "axis", "text-anchor": "middle" }, x));
  if (y) svg.append(s("text", { x: width - 12, y: 14, class: "axis", "text-anchor": "end" }, y));
  series.forEach((one, i) => {
    const d = one.points.map(([a, b], k) => `${k ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join("");
    if (!one.dots) svg.append(s("path", { d, class: `line l${i % 5}` }));
    if (one.points.length < 60) for (const [a, b] of one.points) svg.append(s("circle", { cx: px(a), cy: py(b), r: one.dots ? 5 : 2.5, class: `dot l${i % 5}` }));
    if (one.name) {
      const [a, b] = one.points[one.points.length - 1];
      svg.append(s("text", { x: Math.min(px(a), box.right) - 4, y: py(b) - box.top < 22 ? py(b) + 17 : py(b) - 7, class: `key l${i % 5}`, "text-anchor": "end" }, one.name));
    }
  });
  return svg;
}

// Counts in bins, on a logarithmic height; what is exactly nothing is counted apart.
export function histogram(bins, { title, x, width = 520, height = 190, hot = (bin) => bin.to > 0.002 }) {
  const svg = root(width, height, title), bottom = height - 36, top = 26, left = 12;
  svg.append(caption(title, 4, width));
  const most = Math.log10(1 + Math.max(...bins.map((bin) => bin.count)));
  const wide = (width - 2 * left) / bins.length;
  bins.forEach((bin, i) => {
    const tall = ((bottom - top) * Math.log10(1 + bin.count)) / (most || 1);
    const bar = s("rect", { x: left + i * wide, y: bottom - tall, width: Math.max(1, wide - 1), height: tall, class: hot(bin) ? "bar hot" : "bar" });
    const edge = (v) => (v === null ? "−∞" : Number(v.toPrecision(2)));
    bar.append(s("title", {}, `${edge(bin.from)} … ${edge(bin.to)}: ${bin.count.toLocaleString("en")}`));
    svg.append(bar);
  });
  const every = Math.max(1, Math.ceil(bins.length / 6));
  bins.forEach((bin, i) => {
    if (i % every === 0) svg.append(s("text", { x: left + (i + 1) * wide, y: bottom + 14, class: "axis", "text-anchor": "middle" }, Number(bin.to.toPrecision(3))));
  });
  svg.append(s("text", { x: width / 2, y: height - 4, class: "axis", "text-anchor": "middle" }, x));
  return svg;
}

// A text with a shade behind each token, as large as its value.
export function shaded(tokens, values, { max = Math.max(...values, 1e-9), onpick, label }) {
  return h("p", { class: "tokens", tabindex: onpick ? null : 0, role: onpick ? null : "group", "aria-label": onpick ? null : t("tokensShaded") }, tokens.map((text, i) => {
    const name = label ? label(i) : `${token(text)}: ${values[i].toFixed(3)}`;
    const props = { class: `tok ${shade(Math.max(0, values[i]) / max)}`, title: name };
    return onpick ? h("button", { ...props, type: "button", on: { click: () => onpick(i) } }, token(text)) : h("span", props, token(text));
  }));
}
