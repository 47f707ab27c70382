// Circuits: which heads compose, which of them carry a fact from its subject, and one head between two words.

import { add, clear, h, number, percent, s, signed, token } from "../dom.js";
import { bars } from "../charts.js";
import { Panel, button } from "../panel.js";
import { note, to } from "../state.js";
import { t } from "../strings.js";
import { asked } from "./trace.js";

const headLink = (name) => h("a", { href: to("heads", { layer: /^L(\d+)/.exec(name)[1], head: name }) }, name);
const neuronLink = (name) => h("a", { href: to("neuron", { n: name }) }, name);

export function panels(state, signal) {
  const fact = new Panel(t("factTitle"), { id: "fact_circuit", note: t("factNote") });
  const pair = new Panel(t("pairTitle"), { id: "pair", note: t("pairNote") });
  const graph = new Panel(t("composeTitle"), { id: "compose", note: t("composeNote"), wide: true });
  fact.show(button(t("factFind"), () => drawFact(fact, state, signal), { data: { does: "fact" } }));
  graph.show(button(t("composeFind"), () => drawGraph(graph, state, signal), { data: { does: "compose" } }));
  drawPair(pair, state, signal);
  return [fact.root, pair.root, graph.root];
}

async function drawFact(panel, state, signal) {
  const rows = (found) => [["head", "attention", "direct", "elsewhere", "lost"], ...found.heads.map((one) => [one.head, one.attention, one.direct, one.elsewhere, one.lost])];
  await panel.run("fact_circuit", asked(state), (found) => {
    const strongest = [...found.neurons].sort((a, b) => Math.abs(sum(b.through)) - Math.abs(sum(a.through))).slice(0, 8);
    const most = Math.max(1e-9, ...strongest.map((one) => Math.abs(sum(one.through))));
    panel.show(
      h("p", {}, t("factSays", { answer: found.answer, p: percent(found.probability), lost: percent(found.together), heads: Object.keys(found.patterns.plain).join(", ") })),
      h("div", { class: "scroll" }, h("table", {},
        h("thead", {}, h("tr", {}, [t("head"), t("attention"), t("direct"), t("lost")].map((name, i) => h("th", { class: i ? "n" : "" }, name)))),
        h("tbody", {}, found.heads.slice(0, 8).map((one) => h("tr", {}, h("td", {}, headLink(one.head)), h("td", { class: "n" }, percent(one.attention)), h("td", { class: "n" }, signed(one.direct)), h("td", { class: "n" }, percent(one.lost))))))),
      h("h3", {}, t("factNeurons")),
      h("ol", { class: "bars names" }, strongest.map((one) => h("li", {}, h("span", {}, neuronLink(one.neuron), ` @ ${token(found.tokens[one.token])}`),
        h("span", { class: "track" }, h("span", { class: sum(one.through) < 0 ? "fill hot" : "fill", width: `${(100 * Math.abs(sum(one.through))) / most}%` })), h("span", { class: "value" }, signed(sum(one.through)))))),
    );
  }, { signal, rows });
}
const sum = (parts) => Object.values(parts).reduce((all, one) => all + one, 0);

function drawPair(panel, state, signal) {
  const field = (name, value, label) => h("label", {}, label, h("input", { name, value, required: true, autocomplete: "off", spellcheck: "false", dir: "auto" }));
  const place = h("div", {});
  const submit = async (event) => {
    event.preventDefault();
    const { head, source, destination } = Object.fromEntries(new FormData(event.target));
    note({ head: head.toUpperCase(), source, destination });
    await panel.run("pair", { head: head.toUpperCase(), source, destination }, (found) => {
      place.replaceChildren(
        h("p", {}, t("pairQk", { source: token(found.source), destination: token(found.destination), qk: signed(found.qk), rank: found.rank.toLocaleString("en") })),
        h("h3", {}, t("pairRaises", { source: token(found.source) })),
        bars(found.raises.map((one) => ({ token: one.token, value: one.score })), { most: Math.max(1e-9, ...found.raises.map((one) => one.score)), form: (value) => signed(value) }),
        h("p", { class: "note" }, t("pairOwn", { own: signed(found.own) })));
    }, { signal, rows: (found) => [["token", "score"], ...found.raises.map((one) => [one.token, one.score])] });
  };
  panel.show(h("form", { on: { submit } },
    field("head", state.head || "L0H0", t("head")), field("source", state.source || "Jordan", t("source")), field("destination", state.destination || "of", t("destination")),
    h("button", {}, t("show"))), place);
}

const KINDS = ["q", "k", "v"];
const MOST = 400;
// All pairs of a composition document, the strongest first.
function pairsOf(found) {
  const all = KINDS.flatMap((kind) => Object.entries(found[kind] || {}).flatMap(([reader, row]) => Object.entries(row).map(([writer, score]) => ({ kind, reader, writer, score }))));
  return all.sort((a, b) => b.score - a.score);
}
async function drawGraph(panel, state, signal) {
  const rows = (found) => [["kind", "reader", "writer", "score"], ...pairsOf(found).map((one) => [one.kind, one.reader, one.writer, one.score])];
  await panel.run("compose", {}, (document) => {
    const all = pairsOf(document), edges = all.slice(0, MOST);
    const named = [...new Set(all.flatMap((one) => [one.reader, one.writer]))].map((name) => /^L(\d+)H(\d+)$/.exec(name));
    const found = { edges, null: document.null, pairs: all.length, layers: 1 + Math.max(...named.map(([, l]) => Number(l))), heads: 1 + Math.max(...named.map(([, , k]) => Number(k))) };
    const low = Math.max(0, found.edges.at(-1).score - found.null), high = found.edges[0].score - found.null;
    const given = Number(state.above);
    const now = { above: given >= low && given <= high ? given : low + 0.4 * (high - low), kinds: new Set(KINDS) };
    const place = h("div", { class: "scroll" }), list = h("div", { class: "scroll" });
    const said = h("b", {}, "");
    const draw = () => {
      const shown = found.edges.filter((one) => one.score - found.null >= now.above && now.kinds.has(one.kind));
      said.textContent = signed(now.above, 3);
      add(clear(place), picture(found, shown));
      add(clear(list), h("p", { role: "status" }, t("composeShown", { n: shown.length, all: found.pairs.toLocaleString("en"), null: number(found.null) })),
        h("table", {}, h("tbody", {}, shown.slice(0, 12).map((one) => h("tr", {}, h("td", {}, headLink(one.writer)), h("td", {}, t(`compose_${one.kind}`)), h("td", {}, headLink(one.reader)), h("td", { class: "n" }, one.score.toFixed(3)))))));
    };
    const slider = h("input", { type: "range", min: low, max: high, step: (high - low) / 200 || 0.001, value: now.above });
    slider.addEventListener("input", () => { now.above = Number(slider.value); note({ above: slider.value }); draw(); });
    const boxes = KINDS.map((kind) => {
      const box = h("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => { now.kinds[box.checked ? "add" : "delete"](kind); draw(); });
      return h("label", { class: "check" }, box, t(`compose_${kind}`));
    });
    panel.show(h("label", { class: "slide" }, h("span", {}, t("composeAbove"), " ", said), slider), h("div", { class: "row" }, boxes), place, list);
    draw();
  }, { signal, rows });
}

// Heads by layer from left to right; a line for each pair, thicker the more they compose.
function picture(found, edges) {
  const across = 150, high = 30, left = 60, top = 30;
  const width = left + found.layers * across, height = top + found.heads * high + 20;
  const at = (name) => { const [, l, k] = /^L(\d+)H(\d+)$/.exec(name); return [left + l * across, top + k * high + high / 2]; };
  const svg = s("svg", { class: "figure", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": t("composePicture", { n: edges.length }) });
  for (let l = 0; l < found.layers; l += 1) svg.append(s("text", { x: left + l * across, y: 16, class: "caption", "text-anchor": "middle" }, t("layer", { n: l })));
  const best = Math.max(1e-9, ...edges.map((one) => one.score - found.null));
  for (const one of edges) {
    const [x0, y0] = at(one.writer), [x1, y1] = at(one.reader);
    const line = s("path", { d: `M${x0 + 17} ${y0}C${x0 + 60} ${y0} ${x1 - 60} ${y1} ${x1 - 17} ${y1}`, class: `line l${KINDS.indexOf(one.kind)}`, "stroke-width": 0.6 + (3.4 * (one.score - found.null)) / best });
    line.append(s("title", {}, `${one.writer} → ${one.reader} (${t(`compose_${one.kind}`)}): ${one.score.toFixed(3)}`));
    svg.append(line);
  }
  const used = new Set(edges.flatMap((one) => [one.reader, one.writer]));
  for (let l = 0; l < found.layers; l += 1)
    for (let k = 0; k < found.heads; k += 1) {
      const name = `L${l}H${k}`, [x, y] = at(name);
      const label = s("text", { x, y: y + 4, class: used.has(name) ? "axis strong halo" : "axis halo", "text-anchor": "middle" }, name);
      svg.append(used.has(name) ? s("a", { href: to("heads", { layer: l, head: name }), "aria-label": name }, label) : label);
    }
  return svg;
}
