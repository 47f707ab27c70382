// Trace: which states bring the answer back, and which neurons stand behind a cell.

import { add, h, percent, token } from "../dom.js";
import { grid } from "../charts.js";
import { Panel, button, pager } from "../panel.js";
import { SITE } from "../site.js";
import { go, note, pair, read, to } from "../state.js";
import { t } from "../strings.js";

const WAYS = ["noise", "subject-noise", "fixed", "gaussian", "mean", "resample"];
const ROWS = 64;   // tokens of which a grid has rows at once
const SCALE = Array.from({ length: 10 }, (_, i) => i);

// The quantile 0.975 of Student's t: tabulated to 10 degrees of freedom, from there by the first terms of its expansion.
const T = [NaN, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
export function student(df) {
  const z = 1.959964;
  return T[df] ?? z + (z ** 3 + z) / (4 * df) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * df * df);
}

export function asked(state) {
  return { prompt: state.q, ...(state.s ? { subject: state.s } : {}), ...(state.a ? { answer: state.a } : {}) };
}

export async function render(root, { state, signal, start }) {
  const prompt = state.q || start.first;
  if (!state.q && prompt) note({ q: prompt });
  const here = { ...state, q: prompt };
  const settings = {
    corruption: WAYS.includes(state.k) ? state.k : "noise", window: Number(state.w) || 1, samples: Number(state.n) || 10, severed: state.v === "1",
  };
  add(root, h("p", { class: "lead" }, t("traceLead")), SITE ? h("p", { class: "answer", dir: "auto" }, prompt) : form(here, settings));
  const picture = new Panel(t("traceTitle"), { id: "trace", note: t("traceNote"), wide: true });
  const cells = new Panel(t("cellTitle"), { id: "neurons", note: t("cellNote"), wide: true });
  add(root, h("div", { class: "panels" }, picture.root, cells.root));
  if (!prompt) return;
  cells.show(h("p", { class: "note" }, t("cellHint")));
  const args = { ...asked(here), ...settings };
  const choose = (result, layer, tok) => openCell(cells, here, result, layer, tok, signal);
  const view = { from: null };
  const paint = (found) => draw(picture, found, view, choose);
  const result = await picture.run("trace", args, paint, { signal, rows, part: paint });
  const [layer, tok] = pair(state.cell) || [];
  if (result && layer !== undefined && result.grids.mlp[layer]?.[tok] !== undefined) choose(result, layer, tok);
}

function form(state, settings) {
  const field = (name, value, props = {}) => h("input", { name, value: value || "", autocomplete: "off", spellcheck: "false", dir: "auto", ...props });
  const select = h("select", { name: "k" }, WAYS.map((way) => h("option", { value: way, selected: way === settings.corruption }, way)));
  const check = h("input", { type: "checkbox", name: "v", value: "1", checked: settings.severed });
  return h(
    "form",
    {
      on: {
        submit: (event) => {
          event.preventDefault();
          const given = Object.fromEntries(new FormData(event.target));
          go("trace", { v: "", ...given, cell: "" });
        },
      },
    },
    h("label", { class: "grow" }, t("prompt"), field("q", state.q, { required: true, placeholder: t("promptHint") })),
    h("label", {}, t("subject"), field("s", state.s, { placeholder: t("subjectHint") })),
    h("label", {}, t("answer"), field("a", state.a, { placeholder: t("answerHint") })),
    h("label", {}, t("corruption"), select),
    h("label", {}, t("window"), field("w", settings.window, { type: "number", min: 1, max: 100 })),
    h("label", {}, t("samples"), field("n", settings.samples, { type: "number", min: 1, max: 200 })),
    h("label", { class: "check" }, check, t("severed")),
    h("button", { class: "main" }, t("traceButton")),
  );
}

function rows(result) {
  const table = [["kind", "layer", "position", "token", "effect", "standard_error", "draws"]];
  for (const [kind, layers] of Object.entries(result.grids))
    layers.forEach((values, layer) => values.forEach((value, i) => table.push([kind, layer, i, result.tokens[i], value, result.errors[kind]?.[layer]?.[i], result.samples])));
  return table;
}

function draw(panel, result, view, choose) {
  const [first, end] = result.subject_span, length = result.tokens.length, chosen = read().cell;
  // Of a long prompt a window of tokens, at first from the subject on: before it nothing is corrupted, and all is 0.
  const [, held] = pair(chosen) || [];
  view.from ??= length <= ROWS ? 0 : Math.min(held >= first + ROWS && held < length ? held : first, length - ROWS);
  const from = view.from, shown = result.tokens.slice(from, from + ROWS);
  const kinds = Object.keys(result.grids);
  const flat = kinds.flatMap((kind) => result.grids[kind].flat()).filter((value) => value !== null);
  const max = Math.max(1e-6, ...flat);
  const readout = h("p", { class: "readout", role: "status" }, t("traceOpen"));
  const words = (kind, layer, i) => {
    const effect = result.grids[kind][layer][i];
    const margin = student(result.samples - 1) * (result.errors[kind]?.[layer]?.[i] ?? NaN);
    return t("traceCell", {
      kind: t(`kind_${kind}`), layer: t("layer", { n: layer }), token: token(result.tokens[i]), effect: percent(effect),
      corrupted: percent(result.corrupted), level: percent(result.corrupted + (effect || 0)), n: result.samples,
      interval: Number.isFinite(margin) ? t("traceInterval", { low: percent(effect - margin), high: percent(effect + margin) }) : "",
    });
  };
  const [layer, at] = pair(chosen) || [];
  if (result.grids.mlp?.[layer]?.[at] !== undefined) readout.textContent = words("mlp", layer, at);
  const width = panel.body.clientWidth || 900;
  const grids = kinds.map((kind) => grid({
    // rows are tokens, columns layers
    values: shown.map((_, i) => result.grids[kind].map((values) => values[from + i])),
    rows: shown.map((text) => token(text)),
    columns: result.grids[kind].map((_, n) => String(n)),
    title: t(`kind_${kind}`), max, cell: 30, wide: width > 900 ? Math.max(300, (width - 60) / kinds.length) : width,
    marked: (i) => from + i >= first && from + i < end,
    label: (i, n) => words(kind, n, from + i),
    picked: kind === "mlp" && layer !== undefined && at >= from && at < from + shown.length ? [at - from, layer] : null,
    onhover: (i, n) => { readout.textContent = words(kind, n, from + i); },
    onpick: (row, n) => {
      const i = from + row;
      readout.textContent = words(kind, n, i);
      if (kind === "mlp" && choose) { note({ cell: `${n}.${i}` }); choose(result, n, i); }
      if (kind === "attn") go("heads", { q: result.prompt, layer: n, at: i });
    },
  }));
  const sum = t("traceSum", {
    answer: result.answer, subject: result.subject, clean: percent(result.clean), corrupted: percent(result.corrupted),
    lost: percent(result.clean - result.corrupted),
  });
  panel.show(
    h("p", {}, sum, result.known ? "" : ` ${t("traceUnknown")}`),
    pager({ first: from, shown: shown.length, length }, (next) => { view.from = next - ROWS; draw(panel, result, view, choose); }),
    h("div", { class: "grids" }, grids),
    h("div", { class: "scale", "aria-hidden": "true" }, t("scaleFrom"), h("span", { class: "steps" }, SCALE.map((i) => h("span", { class: `c${i}` }))), t("scaleTo", { max: percent(max) })),
    readout,
  );
}

const link = (layer, neuron) => h("a", { href: to("neuron", { n: `L${layer}N${neuron}` }), data: { neuron: `L${layer}N${neuron}` } }, `L${layer}N${neuron}`);

function table(items, head) {
  const most = Math.max(...items.map((one) => Math.abs(one.score)), 1e-9);
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", {}, t("neuron")), h("th", { class: "n" }, head), h("th"))),
    h("tbody", {}, items.map((one) => h("tr", {}, h("td", {}, link(one.layer, one.neuron)), h("td", { class: "n" }, percent(one.score, 2)),
      h("td", { class: "meter" }, h("span", { class: "track" }, h("span", { class: "fill", width: `${(100 * Math.max(0, one.score)) / most}%` })))))));
}

async function openCell(panel, state, trace, layer, at, signal) {
  const last = trace.subject_span[1] - 1;
  const exact = !SITE && button(t("measure"), () => measure(panel, state, trace, layer, at, signal));
  if (at !== last) {
    panel.say("");
    panel.show(h("p", {}, t("cellOther", { token: token(trace.tokens[last]) })), h("div", { class: "row" }, exact));
    return;
  }
  const rows = (result) => [["layer", "neuron", "score"], ...result.neurons.map((one) => [one.layer, one.neuron, one.score])];
  await panel.run("neurons", asked(state), (result) => {
    const here = result.neurons.filter((one) => one.layer === layer).slice(0, 10);
    panel.show(
      h("div", { class: "both" },
        h("div", {}, h("h3", {}, t("cellHere", { layer: t("layer", { n: layer }) })), here.length ? table(here, t("score")) : h("p", {}, t("cellNone", { layer: t("layer", { n: layer }) }))),
        h("div", {}, h("h3", {}, t("cellAll")), table(result.neurons.slice(0, 10), t("score")))),
      h("p", { class: "note" }, t("cellSum", { sum: percent(result.completeness.sum), expected: percent(result.completeness.expected) })),
      h("div", { class: "row" }, exact),
    );
  }, { signal, rows });
  panel.root.scrollIntoView({ block: "nearest" });
}

async function measure(panel, state, trace, layer, at, signal) {
  const args = { ...asked(state), layer, token: at, samples: 2 };
  await panel.run("trace_neurons", args, (result) => {
    const items = result.neurons.map((one) => ({ layer, neuron: one.neuron, score: one.effect })).slice(0, 15);
    panel.show(
      h("h3", {}, t("measureTitle", { layer, token: token(trace.tokens[at]) })),
      table(items, t("effect")),
      h("p", { class: "note" }, t("measureSum", { together: percent(result.together) })),
    );
  }, { signal, rows: (result) => [["layer", "neuron", "effect"], ...result.neurons.map((one) => [layer, one.neuron, one.effect])] });
}
