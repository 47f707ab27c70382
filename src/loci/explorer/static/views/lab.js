// Lab: the gate with sliders, random directions and their angles, and how many directions there can be.

import { add, clear, h } from "../dom.js";
import { fit, histogram, lines } from "../charts.js";
import { ACTS, angles, truthTable } from "../gate.js";
import { Panel } from "../panel.js";
import { note } from "../state.js";
import { SITE } from "../site.js";
import { t } from "../strings.js";
import * as worlds from "./worlds.js";

const LABELS = { relu: "ReLU", gelu: "GELU" };

function slider(label, { min, max, step, value, form }, act) {
  const said = h("b", {}, form(value));
  const field = h("input", { type: "range", min, max, step, value });
  field.addEventListener("input", () => { said.textContent = form(Number(field.value)); act(Number(field.value)); });
  return h("label", { class: "slide" }, h("span", {}, label, " ", said), field);
}

export async function render(root, { state, signal }) {
  add(root, h("p", { class: "lead" }, t("labLead")));
  const gate = new Panel(t("gateTitle"), { id: "gate", note: t("gateNote") });
  const spread = new Panel(t("anglesTitle"), { id: "angles", note: t("anglesNote") });
  const count = new Panel(t("countTitle"), { id: "bounds", note: t("countNote"), wide: true });
  add(root, h("div", { class: "panels" }, gate.root, spread.root, !SITE && worlds.panels(state, signal), count.root));
  drawGate(gate, state);
  drawAngles(spread, state);
  await drawCount(count, state, signal);
}

function drawGate(panel, state) {
  const now = { angle: Number(state.angle) || 90, bias: state.bias ? Number(state.bias) : -1, act: state.act === "gelu" ? "gelu" : "relu" };
  const place = h("div", {});
  const draw = () => {
    note({ angle: now.angle, bias: now.bias, act: now.act });
    const cosine = Math.cos((now.angle * Math.PI) / 180);
    const table = truthTable(cosine, now.bias, now.act);
    const wanted = table[0].neuron, most = Math.max(1e-9, ...table.map((row) => Math.abs(row.neuron)));
    const leak = Math.max(...table.slice(1).map((row) => Math.abs(row.neuron)));
    const clean = wanted > 1e-6 && leak < 1e-6;
    const curve = Array.from({ length: 81 }, (_, i) => [-2 + (5 * i) / 80, ACTS[now.act](-2 + (5 * i) / 80)]);
    add(clear(place),
      h("table", { class: "truth" },
        h("thead", {}, h("tr", {}, h("th", {}, t("name")), h("th", { class: "n" }, t("pre")), h("th", { class: "n" }, t("neuron")), h("th"))),
        h("tbody", {}, table.map((row) => h("tr", {}, h("td", {}, row.name), h("td", { class: "n" }, row.pre.toFixed(3)), h("td", { class: "n" }, row.neuron.toFixed(3)),
          h("td", { class: "meter" }, h("span", { class: "track" }, h("span", { class: row.first && row.last ? "fill" : "fill hot", width: `${(100 * Math.abs(row.neuron)) / most}%` }))))))),
      h("p", { class: clean ? "verdict good" : "verdict bad", role: "status" }, clean ? t("gateClean") : wanted <= 1e-6 ? t("gateShut") : t("gateLeaks", { share: `${((100 * leak) / wanted).toFixed(1)}%` })),
      lines([{ name: LABELS[now.act], points: curve }, { name: "", dots: true, points: table.map((row) => [row.pre, row.neuron]).sort((a, b) => a[0] - b[0]) }],
        { title: t("actCurve"), x: t("pre"), xs: [-2, 3], ys: [-0.3, 3], width: fit(panel, 420), height: 190 }));
  };
  const act = h("select", { "aria-label": t("activationKind") }, ["relu", "gelu"].map((name) => h("option", { value: name, selected: name === now.act }, LABELS[name])));
  act.addEventListener("change", () => { now.act = act.value; draw(); });
  panel.show(
    slider(t("angleNames"), { min: 40, max: 120, step: 1, value: now.angle, form: (value) => `${value}°` }, (value) => { now.angle = value; draw(); }),
    slider(t("bias"), { min: -3, max: 0.5, step: 0.01, value: now.bias, form: (value) => value.toFixed(2) }, (value) => { now.bias = value; draw(); }),
    h("label", {}, t("activationKind"), act), place);
  draw();
}

function drawAngles(panel, state) {
  const now = { power: Math.log2(Number(state.dim) || 64), count: 60 };
  const place = h("div", {});
  const draw = () => {
    const dim = Math.round(2 ** now.power);
    note({ dim });
    const found = angles(dim, now.count);
    const bins = Array.from({ length: 36 }, (_, i) => ({ from: 5 * i, to: 5 * (i + 1), count: 0 }));
    for (const angle of found) bins[Math.min(35, Math.floor(angle / 5))].count += 1;
    const near = found.filter((angle) => angle > 85 && angle < 95).length / found.length;
    add(clear(place), histogram(bins, { title: t("anglesOf", { n: found.length.toLocaleString("en"), dim }), x: t("degrees"), width: fit(panel, 480), hot: (bin) => bin.from >= 85 && bin.to <= 95 }),
      h("p", { role: "status" }, t("anglesNear", { share: `${(100 * near).toFixed(0)}%`, low: Math.min(...found).toFixed(1), high: Math.max(...found).toFixed(1) })));
  };
  panel.show(slider(t("dimensions"), { min: 1, max: 11, step: 0.25, value: now.power, form: (value) => Math.round(2 ** value).toLocaleString("en") }, (value) => { now.power = value; draw(); }), place);
  draw();
}

const power = (value) => (value < 6 ? Math.floor(10 ** value).toLocaleString("en") : `10^${value.toFixed(1)}`);
const ROWS = ["explicit_lines", "gilbert_varshamov_one_sided", "drawn_one_sided", "johnson_lindenstrauss", "levenshtein_one_sided"];

async function drawCount(panel, state, signal) {
  const now = { dim: Number(state.d2) || 12288, angle: Number(state.a2) || 89 };
  const place = h("div", {});
  let waiting;
  const draw = () => {
    note({ d2: now.dim, a2: now.angle });
    return panel.run("bounds", now, (found) => {
      const all = { ...found.log10, ...found.more_log10 };
      add(clear(place), h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, t("what")), h("th", { class: "n" }, t("howMany")))),
        h("tbody", {}, ROWS.filter((name) => name in all).map((name) => h("tr", {}, h("td", {}, t(`bound_${name}`)), h("td", { class: "n" }, power(all[name])))))),
        h("h3", {}, t("rules")),
        h("table", {}, h("tbody", {}, found.rules.map((rule) => h("tr", {}, h("td", {}, rule.name), h("td", { class: "n" }, power(rule.log10)), h("td", {}, rule.verdict))))));
    }, { signal, on: [], rows: (found) => [["what", "log10"], ...Object.entries({ ...found.log10, ...found.more_log10 }), ...found.rules.map((rule) => [rule.name, rule.log10])] });
  };
  const later = () => { clearTimeout(waiting); waiting = setTimeout(draw, 250); };
  panel.show(
    slider(t("dimensions"), { min: 1, max: 16, step: 0.25, value: Math.log2(now.dim), form: (value) => Math.round(2 ** value).toLocaleString("en") }, (value) => { now.dim = Math.round(2 ** value); later(); }),
    slider(t("atLeast"), { min: 60, max: 90, step: 0.5, value: now.angle, form: (value) => `${value}°` }, (value) => { now.angle = value; later(); }), place);
  await draw();
}

