// Neuron: what it looks for (key), what it writes (value), how it fires, and what happens when it writes otherwise.

import { ask } from "../api.js";
import { add, announce, h, number, percent, signed, token } from "../dom.js";
import { bars, fit, histogram, shaded } from "../charts.js";
import { Panel, button } from "../panel.js";
import { SITE } from "../site.js";
import { go, patches, step, to } from "../state.js";
import { t } from "../strings.js";

const NAME = /^L(\d+)N(\d+)$/i;
const link = (name) => h("a", { href: to("neuron", { n: name }) }, name);

export async function render(root, { state, signal, start, about }) {
  const name = (state.n || "L0N0").toUpperCase();
  const prompt = state.q || start.first;
  const field = h("input", { name: "n", value: name, pattern: "[Ll]\\d+[Nn]\\d+", required: true, autocomplete: "off", title: t("neuronHint") });
  const around = h("span", { class: "row" });
  add(root, h("p", { class: "lead" }, t("neuronLead")),
    h("form", { on: { submit: (event) => { event.preventDefault(); go("neuron", { n: field.value.toUpperCase() }); } } },
      h("label", {}, t("neuron"), field), h("button", { class: "main" }, t("show")), around));
  const value = new Panel(t("valueTitle"), { id: "value", note: t("valueNote") });
  const change = new Panel(t("changeTitle"), { id: "change", note: t("changeNote") });
  const key = new Panel(t("keyTitle"), { id: "key", note: t("keyNote") });
  const live = new Panel(t("liveTitle"), { id: "firing", note: t("liveNote") });
  const spread = new Panel(t("spreadTitle"), { id: "histogram", note: t("spreadNote") });
  const labels = new Panel(t("labelsTitle"), { id: "labels", note: t("labelsNote") });
  add(root, h("div", { class: "panels" }, value.root, !SITE && change.root, h("div", { class: "panel bare" }, key.root, !SITE && labels.root), h("div", { class: "panel bare" }, !SITE && live.root, spread.root)));
  neighbours(around, name, about);
  if (!SITE) {
    drawChange(change, name, prompt, signal);
    drawLive(live, name, prompt, signal);
  }
  const good = await value.run("card", { neuron: name, top: 12 }, (card) => drawValue(value, card), { signal, rows: valueRows });
  if (!good || signal.aborted) return;
  const model = SITE ? {} : await about().catch(() => null);
  if (!model || signal.aborted) return;
  const tokens = Number(state.text) || model.reading_tokens || 30000;
  const more = !SITE && button(t("moreText"), () => step({ text: 4 * tokens }), { data: { does: "more" } });
  await key.run("read", { neuron: name, tokens, top: 10 }, (card) => drawKey(key, card, more), { signal, rows: keyRows });
  if (signal.aborted) return;
  await spread.run("histogram", { neuron: name, tokens }, (found) => {
    spread.show(histogram(found.bins, { title: t("spreadOf", { n: found.tokens.toLocaleString("en") }), x: t("activation"), width: fit(spread, 520) }));
  }, { signal, rows: (found) => [["from", "to", "count"], ...found.bins.map((bin) => [bin.from, bin.to, bin.count])] });
  if (!SITE && !signal.aborted) await labels.run("labels", { neuron: name, facts: Math.max(600, Math.min(2000, Math.floor(tokens / 15))) }, (found) => drawLabels(labels, found), { signal, rows: labelRows });
}

export const labelRows = (found) => [["label", "at", "threshold", "precision", "n_said", "recall", "n_labelled"], ...found.labels.map((one) => [one.label, one.at, one.threshold, one.precision.value, one.precision.n, one.recall.value, one.recall.n])];
const within = (one) => [h("b", {}, percent(one.value, 0)), " ", h("span", { class: "between" }, `${percent(one.low, 0)} … ${percent(one.high, 0)}, n\u00a0=\u00a0${one.n}`)];

// Chosen on one half of the facts, judged on the other.
export function drawLabels(panel, found) {
  panel.show(h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, [t("label"), t("precision"), t("recall")].map((name) => h("th", {}, name)))),
    h("tbody", {}, found.labels.map((one) => h("tr", {}, h("td", {}, `${one.label.replace("_", " → ")} @ ${t(`at_${one.at}`)}`), h("td", {}, within(one.precision)), h("td", {}, within(one.recall))))))),
    h("p", { class: "note" }, t("labelsOf", { n: found.facts.toLocaleString("en") })));
}

async function neighbours(root, name, about) {
  const match = NAME.exec(name);
  if (!match) return;
  const model = await about().catch(() => null);
  if (!model) return;
  const layer = Number(match[1]), neuron = Number(match[2]);
  const near = (n, text, mark) => n >= 0 && n < model.d_mlp && h("a", { href: to("neuron", { n: `L${layer}N${n}` }), "aria-label": text }, mark);
  add(root, near(neuron - 1, t("previous"), "← "), h("span", { class: "note" }, t("ofNeurons", { layers: model.layers, n: model.d_mlp.toLocaleString("en") })), near(neuron + 1, t("nextOne"), " →"));
}

const valueRows = (card) => [["side", "token", "score"], ...card.promotes.map((one) => ["promotes", one.token, one.score]), ...card.suppresses.map((one) => ["suppresses", one.token, one.score])];
const keyRows = (card) => [["activation", "before", "token", "after"], ...card.triggers.map((one) => [one.activation, one.before, one.token, one.after])];

function drawValue(panel, card) {
  const chips = (items, kind) => h("ul", { class: "chips" }, items.map((one) => h("li", { class: kind, title: signed(one.score, 3) }, token(one.token))));
  panel.show(
    h("h3", {}, t("promotes")), chips(card.promotes, "up"),
    h("h3", {}, t("suppresses")), chips(card.suppresses, "down"),
    h("dl", { class: "pairs" },
      h("dt", {}, t("cosine")), h("dd", {}, `${signed(card.cosine)} · ${t(card.cosine <= -0.3 ? "eraser" : card.cosine >= 0.3 ? "amplifier" : "neither")}`),
      h("dt", {}, t("norms")), h("dd", {}, `${number(card.key_norm)} · ${number(card.value_norm)}`),
      h("dt", {}, t("threshold")), h("dd", {}, number(card.threshold)),
      h("dt", {}, t("nearest")), h("dd", {}, card.nearest.map((one, i) => [i ? ", " : "", link(one.name), ` ${signed(one.cosine)}`]))),
  );
}

function drawKey(panel, card, more) {
  panel.show(
    h("p", {}, t("fires", { share: percent(card.firing_rate, 2), n: card.tokens.toLocaleString("en") })),
    h("ul", { class: "triggers" }, card.triggers.map((one) =>
      h("li", {}, h("span", { class: "a" }, number(one.activation)), h("span", { dir: "auto" }, one.before.slice(-90), h("mark", {}, one.token), one.after.slice(0, 60))))),
    !card.triggers.length && h("p", {}, t("never")),
    more && h("div", { class: "row" }, more),
  );
}

// The neuron on a text, at once.
function drawLive(panel, name, prompt, signal) {
  const field = h("textarea", { rows: 2, "aria-label": t("tryText"), dir: "auto", spellcheck: "false" });
  field.value = prompt;
  const place = h("div", {});
  panel.show(field, place);
  let waiting;
  const draw = () => {
    if (!field.value.trim()) return;
    panel.run("firing", { neuron: name, text: field.value }, (found) => {
      const most = Math.max(...found.activations, 1e-6);
      place.replaceChildren(shaded(found.tokens, found.activations, { max: most }), h("p", { class: "note" }, t("liveMost", { value: number(Math.max(...found.activations)) })));
    }, { signal, rows: (found) => [["token", "activation"], ...found.tokens.map((text, i) => [text, found.activations[i]])] });
  };
  field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(draw, 350); });
  draw();
}

// What the model says when the neuron writes nothing, or twice as much. The patch goes to the stack when it is kept.
function drawChange(panel, name, prompt, signal) {
  const field = h("input", { value: prompt, "aria-label": t("prompt"), dir: "auto", autocomplete: "off" });
  const factor = h("input", { type: "number", value: 0, min: -100, max: 100, step: "any", "aria-label": t("factor") });
  const place = h("div", { class: "both" });
  const keep = h("div", { class: "row" });
  const set = async (times) => {
    factor.value = times;
    keep.replaceChildren();
    panel.say(t("opening"));
    try {
      const on = patches();
      const { result } = await ask("scale", { neuron: name, factor: times }, { signal });
      const before = await ask("ask", { prompt: field.value, tokens: 8, top: 6 }, { patches: on, signal });
      const after = await panel.run("ask", { prompt: field.value, tokens: 8, top: 6 }, (found) => {
        place.replaceChildren(side(t("asItIs"), before.result.replies[0], found.replies[0]), side(t("scaled", { name, times }), found.replies[0], before.result.replies[0]));
      }, { on: [...on, result.patch], signal });
      if (!after) return;
      keep.replaceChildren(
        button(t("keepOn"), () => step({ p: [...new Set([...on, result.patch])].join(".") }), { data: { keeps: result.patch } }),
        h("a", { href: to("edit") }, t("toStack")),
      );
      announce(`${t("scaled", { name, times })}: ${after.replies[0].answer}`);
    } catch (error) { panel.say(error.name === "AbortError" ? "" : error.message, "bad"); }
  };
  panel.show(
    h("label", {}, t("prompt"), field),
    h("div", { class: "row" },
      button(t("setZero"), () => set(0), { data: { sets: "0" } }), button(t("setDouble"), () => set(2), { data: { sets: "2" } }),
      h("label", {}, t("factor"), factor), button(t("setTo"), () => set(Number(factor.value)))),
    place, keep,
  );
}

export function side(title, reply, other) {
  const answer = reply.answer || reply.says.trim();
  const was = new Map(other.next.map((one) => [one.token, one.probability]));
  return h("div", {},
    h("h3", {}, title),
    h("p", { class: "answer", dir: "auto" }, h("b", {}, answer), " ", h("span", { class: "p" }, t("sure", { p: percent(reply.probability, 2) }))),
    bars(reply.next.slice(0, 6).map((one) => ({ token: one.token, value: one.probability })), { mark: (one) => !was.has(one.token) || Math.abs(was.get(one.token) - one.value) > 0.01, form: (value) => percent(value, 2) }));
}

