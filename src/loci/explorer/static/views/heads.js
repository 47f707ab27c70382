// Heads: where each looks, token by token, plain and weighted by what is written; and what every head does on repeated tokens.

import { add, clear, h, number, percent, token } from "../dom.js";
import { grid, shade } from "../charts.js";
import { Panel, button } from "../panel.js";
import { SITE } from "../site.js";
import { go, note } from "../state.js";
import { t } from "../strings.js";
import * as circuits from "./circuits.js";

const SHORT = 200;   // characters of a text whose patterns come whole
const MOST = 64;     // heads whose patterns come at once
const KINDS = ["induction", "previous_token", "duplicate", "first", "current", "copying", "entropy"];

export async function render(root, { state, signal, start, about }) {
  const text = state.q || start.first;
  if (!state.q && text) note({ q: text });
  const field = h("textarea", { name: "q", rows: 2, required: true, dir: "auto", "aria-label": t("text"), spellcheck: "false" });
  field.value = text;
  const layer = h("select", { name: "layer" });
  add(root, h("p", { class: "lead" }, t("headsLead")),
    SITE && h("p", { class: "answer", dir: "auto" }, text),
    h("form", { on: { submit: (event) => { event.preventDefault(); go("heads", { q: field.value, layer: layer.value, at: "" }); } } },
      !SITE && h("label", { class: "grow" }, t("text"), field), h("label", {}, t("layer_"), layer), h("button", { class: "main" }, t("look"))));
  const panel = new Panel(t("looksTitle"), { id: "attention", note: t("looksNote"), wide: true });
  const scores = new Panel(t("scoresTitle"), { id: "heads", note: t("scoresNote"), wide: true });
  add(root, h("div", { class: "panels" }, panel.root, !SITE && [scores.root, circuits.panels({ ...state, q: text }, signal)]));
  panel.say(t("opening"));
  const model = await about().catch((error) => { panel.say(error.message, "bad"); });
  if (signal.aborted || !model) return;
  panel.say("");
  const all = model.layers * model.heads <= MOST;
  add(layer, all && h("option", { value: "" }, t("allLayers")), Array.from({ length: model.layers }, (_, i) => h("option", { value: i, selected: String(i) === state.layer }, t("layer", { n: i }))));
  scores.show(h("div", { class: "row" }, button(t("scoreHeads"), () => drawScores(scores, signal), { data: { does: "scores" } })));
  if (!text) return;
  const chosen = layer.value;
  const ready = (found) => drawPatterns(panel, found, state);
  if (text.length > SHORT || !all) {
    await panel.run("attention_top", { text, layer: Number(chosen || 0), most: 12 }, (found) => ready(sparse(found)), { signal, rows: (found) => entries(sparse(found)) });
  } else {
    const heads = chosen === "" ? [] : Array.from({ length: model.heads }, (_, i) => `L${chosen}H${i}`);
    await panel.run("attention", { text, heads }, (found) => ready(whole(found)), { signal, rows: (found) => entries(whole(found)) });
  }
}

const entries = (found) => [["head", "query", "key", "plain", "weighted"], ...Object.entries(found.heads).flatMap(([name, rows]) => rows.flatMap((row, q) => row.map((entry) => [name, q, ...entry])))];

// Both forms as one: heads by name, each with rows of [key, plain, weighted].
const whole = (found) => ({
  tokens: found.tokens,
  heads: Object.fromEntries(Object.keys(found.plain).map((name) => [name, found.plain[name].map((row, q) => row.slice(0, q + 1).map((value, k) => [k, value, found.weighted[name][q][k]]))])),
});
const sparse = (found) => ({
  tokens: found.tokens,
  heads: Object.fromEntries(Object.entries(found.heads).map(([name, one]) => [name, one.keys.map((keys, q) => keys.map((k, i) => [k, one.plain[q][i], one.weighted[q][i]]).filter(([k]) => k <= q))])),
});

const INK = () => {
  const style = getComputedStyle(document.documentElement);
  return Array.from({ length: 10 }, (_, i) => style.getPropertyValue(`--c${i}`).trim());
};

function thumb(rows, most, which) {
  const n = rows.length, size = Math.max(1, Math.min(6, Math.floor(96 / n)));
  const canvas = h("canvas", { "aria-hidden": "true" });
  const side = Math.min(512, n);
  canvas.width = canvas.height = side * size;
  const pen = canvas.getContext("2d"), inks = INK(), scale = side / n;
  pen.fillStyle = inks[0];
  pen.fillRect(0, 0, canvas.width, canvas.height);
  rows.forEach((row, q) => row.forEach((entry) => {
    pen.fillStyle = inks[Number(shade(entry[which] / most).slice(1))];
    pen.fillRect(Math.floor(entry[0] * scale) * size, Math.floor(q * scale) * size, size, size);
  }));
  return canvas;
}

function drawPatterns(panel, found, state) {
  const names = Object.keys(found.heads);
  const view = { head: names.includes(state.head) ? state.head : names[0], which: state.weighted === "1" ? 2 : 1, from: state.side !== "by", lock: null };
  const given = Number(state.at);
  if (state.at && given < found.tokens.length) view.lock = given;
  const words = h("div", {}), readout = h("p", { class: "readout", role: "status" }), thumbs = h("div", { class: "thumbs" }), large = h("div", { class: "scroll" });
  const most = (name) => Math.max(1e-9, ...found.heads[name].flat().map((entry) => entry[view.which]));
  const values = (at) => {
    const out = new Array(found.tokens.length).fill(0);
    found.heads[view.head].forEach((row, q) => row.forEach((entry) => {
      if (view.from ? q === at : entry[0] === at) out[view.from ? entry[0] : q] = entry[view.which];
    }));
    return out;
  };
  const light = (at) => {
    const out = values(at), top = view.which === 1 ? 1 : most(view.head);
    [...words.firstChild.children].forEach((node, i) => { node.className = `tok ${shade(out[i] / top)}${i === at ? " hold" : ""}`; });
    const best = out.map((value, i) => [value, i]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([value]) => value > 0.001);
    const said = best.map(([value, i]) => `“${token(found.tokens[i])}” ${view.which === 1 ? percent(value) : number(value)}`).join(", ");
    readout.textContent = `${view.head}: “${token(found.tokens[at])}” ${t(view.from ? "looksAt" : "lookedAtBy")} ${said || t("nothing")}`;
  };
  const lock = (i) => { view.lock = view.lock === i ? null : i; note({ at: view.lock ?? "" }); light(i); };
  const drawWords = () => {
    add(clear(words), h("p", { class: "tokens" }, found.tokens.map((text, i) => h("button", {
      type: "button", class: "tok c0",
      on: { pointerenter: () => view.lock === null && light(i), focus: () => view.lock === null && light(i), click: () => lock(i) },
    }, token(text)))));
    light(view.lock ?? found.tokens.length - 1);
  };
  const drawLarge = () => {
    const n = found.tokens.length;
    clear(large);
    if (n > 40) return;
    const dense = found.heads[view.head].map((row) => { const out = new Array(n).fill(null); row.forEach((entry) => { out[entry[0]] = entry[view.which]; }); return out; });
    add(large, grid({
      values: dense, rows: found.tokens.map(token), columns: found.tokens.map((text) => token(text).slice(0, 4)), title: `${view.head}: ${t("rowsLook")}`,
      max: view.which === 1 ? 1 : most(view.head), cell: 30, wide: panel.body.clientWidth || 600,
      label: (q, k) => `${token(found.tokens[q])} → ${token(found.tokens[k])}: ${dense[q][k] === null ? "–" : number(dense[q][k])}`,
      onhover: (q) => light(q), onpick: (q) => lock(q),
    }));
  };
  const drawThumbs = () => add(clear(thumbs), names.map((name) => h("button", {
    type: "button", "aria-pressed": String(name === view.head), "aria-label": name,
    on: { click: () => { view.head = name; note({ head: name }); redraw(); } },
  }, thumb(found.heads[name], view.which === 1 ? 1 : most(name), view.which), h("span", {}, name))));
  const toggle = (label, is, act) => button(label, act, { "aria-pressed": String(is) });
  const switches = h("div", { class: "row" });
  const redraw = () => {
    add(clear(switches),
      toggle(t("weighted"), view.which === 2, () => { view.which = 3 - view.which; note({ weighted: view.which === 2 ? "1" : "" }); redraw(); }),
      toggle(t("lookedAtBy"), !view.from, () => { view.from = !view.from; note({ side: view.from ? "" : "by" }); redraw(); }));
    drawThumbs(); drawWords(); drawLarge();
  };
  panel.show(switches, thumbs, words, readout, large);
  redraw();
}

async function drawScores(panel, signal) {
  await panel.run("heads", {}, (found) => {
    const layers = Math.max(...found.heads.map((one) => one.layer)) + 1, heads = Math.max(...found.heads.map((one) => one.head)) + 1;
    const at = (l, k) => found.heads.find((one) => one.layer === l && one.head === k);
    const select = h("select", { "aria-label": t("scoreOf") }, KINDS.map((kind) => h("option", { value: kind }, t(`score_${kind}`))));
    const place = h("div", { class: "scroll" }), readout = h("p", { class: "readout", role: "status" });
    const draw = () => {
      const kind = select.value;
      const values = Array.from({ length: layers }, (_, l) => Array.from({ length: heads }, (_, k) => at(l, k)?.[kind] ?? null));
      const words = (l, k) => {
        const one = at(l, k), between = one.intervals[kind];
        return `L${l}H${k}: ${t(`score_${kind}`)} ${number(one[kind])}${between ? ` (${number(between[0])} … ${number(between[1])}, n = ${found.samples})` : ""}`;
      };
      readout.textContent = t("scoresOpen", { max: number(Math.max(...values.flat())) });
      add(clear(place), grid({
        values, rows: values.map((_, l) => t("layer", { n: l })), columns: values[0].map((_, k) => `H${k}`), title: t(`score_${kind}`),
        max: Math.max(...values.flat()), cell: 34, wide: 640, label: words,
        onhover: (l, k) => { readout.textContent = words(l, k); }, onpick: (l, k) => go("heads", { layer: l, head: `L${l}H${k}` }),
      }));
    };
    select.addEventListener("change", draw);
    panel.show(h("div", { class: "row" }, select), place, readout);
    draw();
  }, { signal, rows: (found) => [["layer", "head", ...KINDS], ...found.heads.map((one) => [one.layer, one.head, ...KINDS.map((kind) => one[kind])])] });
}

