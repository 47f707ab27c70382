// Features: a dictionary's feature like a neuron, and the graph of exact linear effects that leads to an answer.

import { add, clear, h, number, percent, s, signed, token } from "../dom.js";
import { Panel } from "../panel.js";
import { go, note, to } from "../state.js";
import { t } from "../strings.js";
import { drawLabels, labelRows } from "./neuron.js";

const LOADED = { 3: "autoencoder", 1: "transcoder" };
const SHOWN = 26;

export async function render(root, { state, signal, start }) {
  const own = start.model === "demo";
  const prompt = state.q || start.first;
  add(root, h("p", { class: "lead" }, t("featuresLead")));
  const card = new Panel(t("featureTitle"), { id: "feature", note: t("featureNote"), wide: true });
  const graph = new Panel(t("graphTitle"), { id: "graph", note: t("graphNote"), wide: true });
  const labels = new Panel(t("labelsTitle"), { id: "labels", note: t("labelsNote"), wide: true });
  add(root, h("div", { class: "panels" }, own && [card.root, labels.root], graph.root));
  if (!own) add(root, h("p", { class: "note" }, t("featuresNone")));
  drawForm(graph, prompt, state, own, signal);
  if (!own) return;
  const asked = await drawCard(card, state, signal);
  if (asked && !signal.aborted) await labels.run("feature_labels", asked, (found) => drawLabels(labels, found), { signal, rows: labelRows });
}

async function drawCard(panel, state, signal) {
  const layer = LOADED[state.fl] ? Number(state.fl) : 3, feature = Number(state.f) || 120;
  const place = h("div", {});
  const where = h("select", { name: "fl" }, Object.entries(LOADED).map(([n, kind]) => h("option", { value: n, selected: Number(n) === layer }, `mlp_out.${n} (${t(kind)})`)));
  const which = h("input", { name: "f", type: "number", min: 0, value: feature, required: true });
  panel.show(h("form", { on: { submit: (event) => { event.preventDefault(); go("features", { fl: where.value, f: which.value }); } } },
    h("label", {}, t("dictionary"), where), h("label", {}, t("feature"), which), h("button", { class: "main" }, t("show"))), place);
  const link = (one) => (/^L\d+N\d+$/.test(one.name) ? h("a", { href: to("neuron", { n: one.name }) }, one.name) : h("a", { href: to("features", { fl: layer, f: one.name.replace(/\D+/g, "") }) }, one.name));
  const near = (items) => (items.length ? items.map((one, i) => [i ? ", " : "", link(one), ` ${signed(one.cosine)}`]) : "–");
  const chips = (items, kind) => h("ul", { class: "chips" }, items.map((one) => h("li", { class: kind, title: signed(one.score, 3) }, token(one.token))));
  const found = await panel.run("feature", { layer, feature }, (found) => {
    add(clear(place), h("div", { class: "both" },
      h("div", {}, h("h3", {}, t("featureOn", { share: percent(found.density, 2), n: found.tokens.toLocaleString("en") })),
        h("ul", { class: "triggers" }, found.triggers.map((one) => h("li", {}, h("span", { class: "a" }, number(one.activation)), h("span", { dir: "auto" }, one.before.slice(-90), h("mark", {}, one.token), one.after.slice(0, 60))))),
        !found.triggers.length && h("p", {}, t("never"))),
      h("div", {}, h("h3", {}, t("promotes")), chips(found.promotes, "up"), h("h3", {}, t("suppresses")), chips(found.suppresses, "down"),
        h("dl", { class: "pairs" }, h("dt", {}, t("featureNear")), h("dd", {}, near(found.nearest)), h("dt", {}, t("featureWriters")), h("dd", {}, near(found.writers)), h("dt", {}, t("featureReaders")), h("dd", {}, near(found.readers))))));
  }, { signal, rows: (found) => [["activation", "before", "token", "after"], ...found.triggers.map((one) => [one.activation, one.before, one.token, one.after])] });
  return found && { layer, feature };
}

function drawForm(panel, prompt, state, own, signal) {
  const place = h("div", {});
  const field = h("input", { name: "q", value: prompt, required: true, dir: "auto", autocomplete: "off", spellcheck: "false" });
  const answer = h("input", { name: "a", value: state.a || "", placeholder: t("answerHint"), dir: "auto", autocomplete: "off" });
  const box = h("input", { type: "checkbox", name: "tc" });
  const submit = async (event) => {
    event.preventDefault();
    note({ q: field.value, a: answer.value });
    const args = { prompt: field.value, features: box.checked, ...(answer.value && { answer: answer.value }) };
    await panel.run("graph", args, (found) => add(clear(place), drawn(panel, found)), { signal, rows: (found) => [["from", "to", "weight"], ...found.edges.map((one) => [one.from, one.to, one.weight])] });
  };
  panel.show(h("form", { on: { submit } }, h("label", { class: "grow" }, t("prompt"), field), h("label", {}, t("answer"), answer),
    own && h("label", { class: "check" }, box, t("graphFeatures")), h("button", { class: "main", data: { does: "graph" } }, t("graphDraw"))), place);
}

const isUnit = (one) => one.kind === "neuron" || one.kind === "feature";
function drawn(panel, found) {
  const units = found.nodes.filter(isUnit).sort((a, b) => b.influence - a.influence);
  const kept = [...units.slice(0, SHOWN), ...found.nodes.filter((one) => one.kind === "embedding" || one.kind === "logit")];
  const sum = found.completeness;
  return [
    h("p", {}, t("graphSum", { answer: found.answer, sum: number(sum.sum, 4), expected: number(sum.expected, 4), r: number(found.interventions.correlation), n: found.interventions.n })),
    h("div", { class: "scroll" }, picture(panel, found, kept)),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, t("unit")), h("th", {}, t("behind")), h("th", { class: "n" }, t("graphActive")), h("th", { class: "n" }, t("graphEffect")), h("th", { class: "n" }, t("graphInfluence")))),
      h("tbody", {}, units.slice(0, 12).map((one) => h("tr", {}, h("td", {}, unitLink(one)), h("td", {}, token(found.tokens[one.position] ?? "")), h("td", { class: "n" }, number(one.activation)), h("td", { class: "n" }, signed(one.effect)), h("td", { class: "n" }, percent(one.influence))))))),
  ];
}
const plain = (one) => one.id.split("@")[0];
const unitLink = (one) => h("a", { href: one.kind === "neuron" ? to("neuron", { n: plain(one) }) : to("features", { fl: one.layer, f: one.unit }) }, plain(one));

// Tokens from left to right, layers from below: embeddings at the bottom, the answer on top.
function picture(panel, found, kept) {
  const rows = new Map();
  const most = Math.max(...kept.filter(isUnit).map((one) => one.layer), 0) + 2;
  const row = (one) => (one.kind === "embedding" ? 0 : one.kind === "logit" ? most : one.layer + 1);
  const room = Math.max(620, (panel.body.clientWidth || 900) - 4), left = 60, wide = (room - left - 20) / found.tokens.length, high = 62;
  const height = (most + 1) * high + 40;
  const place = new Map();
  for (const one of kept) {
    const key = `${row(one)}.${one.position}`, count = rows.get(key) || 0;
    rows.set(key, count + 1);
    const at = one.kind === "logit" ? found.tokens.length - 1 : one.position;
    place.set(one.id, [left + (at + 0.5) * wide + ((count % 2) - 0.25) * 18, height - 40 - row(one) * high - (Math.floor(count / 2) % 3) * 17]);
  }
  const svg = s("svg", { class: "figure", viewBox: `0 0 ${room} ${height}`, width: room, height, role: "img", "aria-label": t("graphPicture", { n: kept.length }) });
  for (let l = 0; l < most - 1; l += 1) svg.append(s("text", { x: 4, y: height - 36 - (l + 1) * high, class: "axis" }, t("layer", { n: l })));
  found.tokens.forEach((text, i) => svg.append(s("text", { x: left + (i + 0.5) * wide, y: height - 8, class: "axis", "text-anchor": "middle" }, token(text).slice(0, 12))));
  const edges = found.edges.filter((one) => place.has(one.from) && place.has(one.to));
  const best = Math.max(1e-9, ...edges.map((one) => Math.abs(one.weight)));
  for (const one of edges.filter((each) => Math.abs(each.weight) > best / 25)) {
    const [x0, y0] = place.get(one.from), [x1, y1] = place.get(one.to);
    const line = s("path", { d: `M${x0} ${y0}L${x1} ${y1}`, class: `line ${one.weight < 0 ? "l1" : "l0"}`, "stroke-width": 0.4 + (4 * Math.abs(one.weight)) / best, opacity: 0.55 });
    line.append(s("title", {}, `${one.from} → ${one.to}: ${signed(one.weight, 3)}`));
    svg.append(line);
  }
  for (const one of kept) {
    const [x, y] = place.get(one.id);
    const dot = s("circle", { cx: x, cy: y, r: one.kind === "logit" ? 8 : 5, class: one.effect < 0 ? "dot l1" : "dot l0" });
    dot.append(s("title", {}, `${one.id}: ${signed(one.effect)}`));
    svg.append(dot);
  }
  const logit = kept.find((one) => one.kind === "logit");
  if (logit) svg.append(s("text", { x: place.get(logit.id)[0] - 12, y: place.get(logit.id)[1] + 4, class: "caption", "text-anchor": "end" }, found.answer));
  return svg;
}
