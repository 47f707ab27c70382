// Small worlds of the lab: a toy model of superposition while it learns, and a planted model that shows whether a method is right.

import { add, clear, h, number, s } from "../dom.js";
import { Panel, button } from "../panel.js";
import { note } from "../state.js";
import { t } from "../strings.js";

export function panels(state, signal) {
  const toy = new Panel(t("toyTitle"), { id: "toy", note: t("toyNote") });
  const planted = new Panel(t("plantedTitle"), { id: "planted", note: t("plantedNote") });
  drawToy(toy, state, signal);
  drawPlanted(planted, state, signal);
  return [toy.root, planted.root];
}

const field = (name, label, props) => h("label", {}, label, h("input", { name, ...props }));

function drawToy(panel, state, signal) {
  const place = h("div", {});
  const submit = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    const args = { features: Number(given.features), dims: Number(given.dims), density: Number(given.density), importance: Number(given.importance), relu: given.relu === "1", steps: Number(given.steps) };
    note({ tf: args.features, td: args.dims, tp: args.density });
    const draw = (found) => add(clear(place), directions(found, args.steps));
    await panel.run("toy", args, draw, { signal, on: [], part: draw, rows: (found) => [["feature", ...found.W[0].map((_, i) => `w${i}`), "norm", "dimensionality"], ...found.norms[0].map((norm, i) => [i, ...found.W[0].map((row) => row[i]), norm, found.dimensionality[0][i]])] });
  };
  panel.show(h("form", { on: { submit } },
    field("features", t("features"), { type: "number", min: 2, max: 40, value: state.tf || 5 }), field("dims", t("dims"), { type: "number", min: 1, max: 10, value: state.td || 2 }),
    field("density", t("density"), { type: "number", min: 0.001, max: 1, step: "any", value: state.tp || 0.1 }), field("importance", t("importance"), { type: "number", min: 0.01, max: 1, step: "any", value: 0.9 }),
    field("steps", t("steps"), { type: "number", min: 10, max: 20000, value: 2000 }),
    h("label", { class: "check" }, h("input", { type: "checkbox", name: "relu", value: "1", checked: true }), "ReLU"),
    h("button", { class: "main", data: { does: "toy" } }, t("train"))), place);
}

// The first two dimensions as arrows, and how long each feature's direction is.
function directions(found, steps) {
  const W = found.W[0], norms = found.norms[0], size = 260, mid = size / 2, unit = 88;
  const svg = s("svg", { class: "figure", viewBox: `0 0 ${size} ${size}`, width: size, height: size, role: "img", "aria-label": t("toyPicture", { n: norms.length }) });
  svg.append(s("circle", { cx: mid, cy: mid, r: unit, class: "rule", fill: "none" }));
  norms.forEach((_, i) => {
    const x = mid + unit * W[0][i], y = mid - unit * (W[1]?.[i] ?? 0);
    svg.append(s("line", { x1: mid, y1: mid, x2: x, y2: y, class: `line l${i % 5}` }), s("text", { x: x + 4, y: y - 4, class: `key l${i % 5}` }, String(i)));
  });
  return h("div", { class: "both" }, svg, h("div", {},
    h("p", { role: "status", data: { step: found.step ?? steps } }, t("toyStep", { step: (found.step ?? steps).toLocaleString("en"), loss: number(found.loss[0]), kept: found.represented[0], n: norms.length, dims: W.length })),
    h("ol", { class: "bars" }, norms.map((norm, i) => h("li", {}, h("span", { class: "word" }, t("featureN", { n: i })), h("span", { class: "track" }, h("span", { class: "fill", width: `${Math.min(100, 80 * norm)}%` })), h("span", { class: "value" }, norm.toFixed(2)))))));
}

function drawPlanted(panel, state, signal) {
  const place = h("div", {});
  const select = (name, options, is) => h("select", { name }, options.map(([value, text]) => h("option", { value, selected: String(value) === String(is) }, text)));
  const ask = (given = {}) => panel.run("planted", { kind: given.kind || state.pk || "one-per-fact", method: given.method || state.pm || "trace: MLP", fact: Number(given.fact ?? state.pf ?? 0) }, (found) => {
    note({ pk: found.kind, pm: found.method, pf: found.fact });
    const form = h("form", { on: { submit: (event) => { event.preventDefault(); ask(Object.fromEntries(new FormData(event.target))); } } },
      h("label", {}, t("plantedKind"), select("kind", [["one-per-fact", t("onePerFact")], ["superposed", t("superposed")]], found.kind)),
      h("label", {}, t("plantedFact"), select("fact", found.facts.map(([text, answer], i) => [i, `${text} ${answer}`]), found.fact)),
      h("label", {}, t("method"), select("method", found.methods.map((name) => [name, name]), found.method)),
      h("button", { class: "main", data: { does: "planted" } }, t("plantedAsk")));
    add(clear(place), form, verdict(found));
  }, { signal, on: [], rows: (found) => [["what", "place", "guess"], ["layer", found.place.layer, found.guess.layer], ["token", found.place.token, found.guess.token], ["neurons", found.place.neurons.join(" "), found.guess.neurons.map((one) => one.join(".")).join(" ")]] });
  place.append(h("div", { class: "row" }, button(t("plantedMake"), () => ask(), { data: { does: "plant" } })));
  panel.show(place);
}

function verdict(found) {
  const { place, guess } = found;
  const mark = (is) => (is === null ? t("saysNothing") : is ? `✓ ${t("right")}` : `✗ ${t("wrong")}`);
  const named = guess.neurons.slice(0, place.neurons.length).map(([l, n]) => `L${l}N${n}`), true_ = place.neurons.map((n) => `L${place.layer}N${n}`);
  const hits = named.filter((name) => true_.includes(name)).length;
  const line = (what, is, says, good) => h("tr", {}, h("th", { scope: "row" }, what), h("td", {}, is), h("td", {}, says), h("td", { data: { verdict: good === null ? "none" : String(good) } }, mark(good)));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th"), h("th", {}, t("truePlace")), h("th", {}, t("methodSays")), h("th"))),
    h("tbody", {},
      line(t("layer_"), place.layer, guess.layer ?? "–", guess.layer === null ? null : guess.layer === place.layer),
      line(t("token_"), `${place.token}: ${found.tokens[place.token].trim()}`, guess.token === null ? "–" : `${guess.token}: ${found.tokens[guess.token].trim()}`, guess.token === null ? null : guess.token === place.token),
      line(t("neurons_"), true_.slice(0, 8).join(", "), named.slice(0, 8).join(", ") || "–", named.length ? hits === true_.length : null))),
    named.length > 0 && h("p", {}, t("plantedHits", { hits, n: true_.length })));
}
