// Edit: a new answer, old and new side by side, the stack of patches, what else moved, and the way back.

import { ask, get } from "../api.js";
import { add, announce, h, number, percent } from "../dom.js";
import { Panel, button } from "../panel.js";
import { note, patches, read, step } from "../state.js";
import { t } from "../strings.js";
import { ending } from "./ask.js";
import { side } from "./neuron.js";

// Metrics that are shares; the others are nats, ratios, bits.
const SHARES = /^(efficacy|paraphrase|specificity|same_subject)/;
const METHODS = ["", "rome", "joint", "memit", "alphaedit", "finetune"];

export async function render(root, { state, signal, start, on }) {
  const prompt = state.q || start.first;
  if (!state.q && prompt) note({ q: prompt });
  const making = new Panel(t("makeTitle"), { id: "make", note: t("makeNote") });
  const stack = new Panel(t("stackTitle"), { id: "stack", note: t("stackNote") });
  const sides = new Panel(t("sidesTitle"), { id: "sides", wide: true });
  const moved = new Panel(t("movedTitle"), { id: "moved", note: t("movedNote"), wide: true });
  add(root, h("p", { class: "lead" }, t("editLead")), h("div", { class: "panels" }, making.root, stack.root, sides.root, moved.root));
  form(making, state, prompt, signal);
  drawStack(stack, moved, signal);
  if (prompt) await drawSides(sides, prompt, on, signal);
}

function form(panel, state, prompt, signal) {
  const field = (name, value, props = {}) => h("input", { name, value: value || "", autocomplete: "off", spellcheck: "false", dir: "auto", ...props });
  const select = h("select", { name: "method" }, METHODS.map((name) => h("option", { value: name }, name || t("methodBest"))));
  const submit = async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(event.target));
    const args = { prompt: given.q, answer: given.new, ...(given.s && { subject: given.s }), ...(given.method && { method: given.method }) };
    const before = patches();
    await panel.run("edit", args, (found) => {
      announce(t("made", { id: found.id }));
      step({ q: found.facts[0].prompt.replace("{}", found.facts[0].subject), s: found.facts[0].subject, p: [...before.filter((one) => one !== found.id), found.id].join(".") });
    }, { signal, on: [] });
  };
  panel.show(h("form", { on: { submit } },
    h("label", { class: "grow" }, t("prompt"), field("q", prompt, { required: true })),
    h("label", {}, t("subject"), field("s", state.s, { placeholder: t("subjectHint") })),
    h("label", {}, t("newAnswer"), field("new", "", { required: true, placeholder: t("newHint") })),
    h("label", {}, t("method"), select),
    h("button", { class: "main" }, t("editButton"))));
}

async function drawSides(panel, prompt, on, signal) {
  let base = null;
  const question = { prompt, tokens: 12, top: 8 };
  try { base = (await ask("ask", question, { signal })).result.replies[0]; } catch (error) { panel.say(error.name === "AbortError" ? "" : error.message, "bad"); return; }
  await panel.run("ask", question, (found) => {
    const now = found.replies[0];
    panel.show(
      h("p", { dir: "auto" }, `${ending(prompt)} …`),
      h("div", { class: "both" }, side(t("base"), base, now), on.length ? side(t("withPatches", { n: on.length }), now, base) : h("p", { class: "note" }, t("nothingOn"))),
    );
  }, { signal, on, rows: (found) => [["side", "token", "probability"], ...base.next.map((one) => ["base", one.token, one.probability]), ...found.replies[0].next.map((one) => ["patched", one.token, one.probability])] });
}

function what(patch) {
  if (patch.neuron) return t("scaled", { name: patch.neuron, times: patch.factor });
  if (patch.facts.length === 1) {
    const [fact] = patch.facts;
    return [fact.prompt.replace("{}", fact.subject), " ", h("s", {}, fact.answer), " → ", h("b", {}, fact.new_answer)];
  }
  return t("manyFacts", { n: patch.facts.length, method: patch.method });
}

// Switching is a step in the address: the back button undoes it.
const turn = (ids) => step({ p: ids.join(".") });

async function drawStack(panel, moved, signal) {
  const { patches: all } = await get("/api/patches");
  const on = patches(read());
  const known = new Map(all.map((patch) => [patch.id, patch]));
  const list = all.map((patch) => {
    const is = on.includes(patch.id);
    const box = h("input", { type: "checkbox", checked: is, on: { change: () => turn(is ? on.filter((one) => one !== patch.id) : [...on, patch.id]) } });
    return h("li", { class: is ? "on" : "", data: { patch: patch.id } },
      h("label", { class: "check" }, box, h("span", { class: "hidden" }, t("switch"))),
      h("span", { class: "what", dir: "auto" }, what(patch), h("br"), h("span", { class: "id" }, `${patch.id} · ${patch.method}`)),
      patch.facts.length > 0 && button(t("audit"), () => audit(moved, patch, signal), { "aria-label": `${t("audit")}: ${patch.id}` }),
      h("a", { href: `/api/patches/${patch.id}.safetensors`, download: `${patch.id}.safetensors` }, t("savePatch")),
      button(t("savePeft"), () => peft(panel, patch, signal), { class: "quiet" }));
  });
  const weights = h("p", { class: "verdict", role: "status" });
  panel.show(
    h("ul", { class: "stack" }, list), !list.length && h("p", { class: "note" }, t("noPatch")),
    h("div", { class: "row" },
      button(t("undo"), () => turn(on.slice(0, -1)), { disabled: !on.length, data: { does: "undo" } }),
      button(t("allOff"), () => turn([]), { disabled: !on.length }),
      button(t("merge"), () => merge(panel, on, signal), { disabled: on.length < 2 }),
      button(t("check"), () => check(weights, signal), { data: { does: "check" } })),
    weights,
  );
  weights.hidden = true;
  const last = known.get(on[on.length - 1]);
  if (last?.report) drawReport(moved, last.report);
  else moved.show(h("p", { class: "note" }, on.length ? t("noReport") : t("nothingOn")));
  if (undone(on)) check(weights, signal);
}

let before = 0;
// Whether fewer patches are on than when the stack was last drawn: then the weights are looked at.
function undone(on) {
  const fewer = on.length < before;
  before = on.length;
  return fewer;
}

async function check(place, signal) {
  place.hidden = false;
  place.className = "verdict";
  place.textContent = t("checking");
  try {
    const { result } = await ask("weights", {}, { signal });
    const same = result.same;
    place.className = same ? "verdict good" : "verdict bad";
    place.dataset.fingerprint = result.fingerprint;
    place.dataset.base = result.base;
    place.textContent = t(same ? "bitExact" : "notExact", { hash: result.fingerprint.slice(0, 23) });
  } catch (error) { place.textContent = error.message; }
}

async function peft(panel, patch, signal) {
  try {
    panel.say(t("opening"));
    const { result } = await ask("adapter", { patch: patch.id }, { signal });
    panel.say("");
    h("a", { href: `/api/patches/${result.file}`, download: result.file }).click();
  } catch (error) { panel.say(error.message, "bad"); }
}

const merge = (panel, on, signal) => panel.run("merge", { patches: on, keep: "last" }, (found) => turn([found.id]), { signal, on: [] });

const estimate = (one, form = percent) =>
  one && one.n ? [h("b", {}, form(one.value)), " ", h("span", { class: "between" }, one.low === null ? "" : `${form(one.low)} … ${form(one.high)}, `, `n\u00a0=\u00a0${one.n}`)] : "–";

function drawReport(panel, report) {
  const near = { value: report.moved.neighbours, low: report.moved.low, high: report.moved.high, n: report.moved.n };
  panel.show(
    h("dl", { class: "pairs" },
      h("dt", {}, t("saidNew")), h("dd", {}, estimate(report.said)),
      h("dt", {}, t("movedNear")), h("dd", {}, estimate(near)),
      h("dt", {}, t("movedSame")), h("dd", {}, estimate(report.moved.same_subject)),
      h("dt", {}, t("movedTokens")), h("dd", {}, estimate(report.moved.sentences))),
    report.warnings.map((line) => h("p", { class: "verdict bad" }, line)),
    report.moved.changed.length > 0 && h("div", {}, h("h3", {}, t("changed")), h("table", {}, h("tbody", {}, report.moved.changed.map((one) =>
      h("tr", {}, h("td", {}, one.prompt), h("td", {}, one.old ?? ""), h("td", {}, "→ ", one.new ?? "")))))),
  );
}

async function audit(panel, patch, signal) {
  const rows = (card) => [["control", "metric", "value", "low", "high", "n"], ...[["edit", card.metrics], ...Object.entries(card.controls)].flatMap(([name, metrics]) =>
    Object.entries(metrics).map(([metric, one]) => [name, metric, one.value, one.low, one.high, one.n]))];
  panel.root.scrollIntoView({ block: "nearest" });
  const draw = (card) => {
    const names = Object.keys(card.metrics);
    const columns = [[t("thisEdit"), card.metrics], ...Object.entries(card.controls)];
    panel.show(
      h("p", {}, t("auditOf"), " ", what(patch)),
      h("div", { class: "scroll" }, h("table", {},
        h("thead", {}, h("tr", {}, h("th"), columns.map(([name]) => h("th", {}, name)))),
        h("tbody", {}, names.filter((name) => card.metrics[name]?.n).map((name) => h("tr", {}, h("th", { scope: "row" }, card.meanings[name]), columns.map(([, metrics]) =>
          h("td", {}, estimate(metrics[name], SHARES.test(name) ? percent : number)))))))),
      Object.entries(card.left_out).map(([name, why]) => h("p", { class: "note" }, `${name}: ${why}`)),
    );
  };
  await panel.run("audit", { patch: patch.id }, draw, { signal, on: [], rows, part: draw });
}

