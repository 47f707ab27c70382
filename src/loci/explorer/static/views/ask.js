// Ask: a prompt, what the model says, the next tokens, the lens at every token, facts to start from.

import { add, clear, h, percent, token } from "../dom.js";
import { bars, fit, lines, shade } from "../charts.js";
import { Panel, pager } from "../panel.js";
import { prepare, search } from "../search.js";
import { SITE } from "../site.js";
import { go, note, pair, to } from "../state.js";
import { t } from "../strings.js";

export async function render(root, { state, signal, start }) {
  const prompt = state.q || start.first;
  if (!state.q && prompt) note({ q: prompt });
  const field = h("input", { name: "q", value: prompt, autocomplete: "off", spellcheck: "false", dir: "auto", placeholder: t("promptHint"), required: true });
  const form = !SITE && h(
    "form",
    { on: { submit: (event) => { event.preventDefault(); go("ask", { q: field.value, s: "", a: "", c: "", end: "" }); } } },
    h("label", { class: "grow" }, t("prompt"), field),
    h("button", { class: "main" }, t("askButton")),
  );
  const says = new Panel(t("says"), { id: "answer" });
  const facts = start.facts.length ? new Panel(t(SITE ? "siteFacts" : "knownFacts"), { id: "facts", note: t(SITE ? "siteFactsNote" : "knownNote", { n: start.facts.length.toLocaleString("en") }) }) : null;
  const lens = new Panel(t("lensTitle"), { id: "lens", note: t("lensNote"), wide: true });
  add(root, h("p", { class: "lead" }, t("askLead")), form, h("div", { class: "panels" }, says.root, facts?.root, lens.root));
  if (facts) listFacts(facts, start.facts);
  if (!prompt) { field.focus(); return; }
  const rows = (result) => [["token", "probability"], ...result.replies[0].next.map((one) => [one.token, one.probability])];
  await says.run("ask", { prompt, tokens: 12, top: 10 }, (result) => drawAnswer(says, result, prompt), { signal, rows });
  const look = (end, chosen) => lens.run("lens_grid", { prompt, top: 5, ...(end && { end }) }, (result) => drawLens(lens, result, chosen, (next) => { note({ end: next, c: "" }); look(next); }), { signal, rows: lensRows });
  await look(Number(state.end) || null, state.c);
}

const LONG = 300;   // characters; of a longer prompt its end is said again
export const ending = (text) => (text.length > LONG ? `… ${text.slice(-LONG).replace(/^\S*\s/, "")}` : text);

export function answerLine(reply, prompt) {
  return h("p", { class: "answer", dir: "auto" }, `${ending(prompt)} `, h("b", {}, reply.answer || reply.says.trim() || "…"), " ", h("span", { class: "p" }, t("sure", { p: percent(reply.probability) })));
}

function drawAnswer(panel, result, prompt) {
  const reply = result.replies[0];
  const items = reply.next.map((one) => ({ token: one.token, value: one.probability }));
  panel.show(
    answerLine(reply, prompt),
    reply.warning && h("p", { class: "note" }, reply.warning),
    h("p", { class: "note" }, t("continuation", { text: reply.says.trim() })),
    h("h3", {}, t("nextWords")),
    bars(items, { most: Math.max(...items.map((one) => one.value)) }),
    h("div", { class: "row" },
      h("a", { href: to("trace", { q: prompt }), data: { goes: "trace" } }, t("traceThis")),
      !SITE && h("a", { href: to("edit", { q: prompt }), data: { goes: "edit" } }, t("editThis")),
      reply.answer && h("a", { href: to("search", { w: reply.answer }) }, t("wordsOf", { word: reply.answer }))),
  );
}

function listFacts(panel, facts) {
  const prepared = prepare(facts.map(([subject, prompt, answer, relation]) => `${subject} ${prompt} ${answer} ${relation}`));
  const list = h("ul", { class: "facts" });
  const field = h("input", { type: "search", placeholder: t("findHint"), "aria-label": t("findFact") });
  const draw = () => {
    const { found, all } = search(prepared, field.value);
    add(clear(list), found.map((i) => {
      const [subject, prompt, answer] = facts[i];
      const text = prompt.replace("{}", subject);
      return h("li", {}, h("button", { type: "button", on: { click: () => go("ask", { q: text, s: subject, a: "", c: "" }) } }, text, " ", h("b", {}, answer)));
    }), !all && h("li", { class: "rel" }, t("noFact")), all > found.length && h("li", { class: "rel" }, t("moreFacts", { n: all - found.length })));
  };
  field.addEventListener("input", draw);
  draw();
  panel.show(field, list);
}

const layerName = (row) => (row === 0 ? t("before") : t("layer", { n: row - 1 }));

function lensRows(result) {
  const rows = [["layer", "position", "token", "rank", "word", "probability"]];
  result.rows.forEach((cells, r) => cells.forEach((words, c) => words.forEach((one, k) =>
    rows.push([r === 0 ? "embedding" : r - 1, result.first + c, result.tokens[c], k + 1, one.token, one.prob]))));
  return rows;
}

// Of a long text a window of tokens; a chosen cell is named by its row and its token in the whole text.
function drawLens(panel, result, chosen, goto) {
  const side = h("div", { class: "both" });
  const cells = [];
  const pick = (r, c) => {
    note({ c: `${r}.${result.first + c}` });
    cells.forEach((row, i) => row.forEach((cell, j) => {
      cell.setAttribute("aria-pressed", String(i === r && j === c));
      cell.tabIndex = i === r && j === c ? 0 : -1;
    }));
    const words = result.rows[r][c], behind = token(result.tokens[c]);
    const word = words[0].token;
    const points = result.rows.map((row, i) => [i - 1, row[c].find((one) => one.token === word)?.prob ?? 0]);
    add(
      clear(side),
      h("div", {}, h("h3", {}, t("lensCell", { layer: layerName(r), token: behind })), bars(words.map((one) => ({ token: one.token, value: one.prob })))),
      lines([{ name: token(word), points }], { title: t("lensLine", { word: token(word), token: behind }), x: t("layers"), ys: [0, 1], names: (n) => (n < 0 ? t("start") : String(n)), width: fit(panel, 430), height: 190 }),
    );
  };
  const arrows = (event, r, c) => {
    const step = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const next = step && cells[r + step[0]]?.[c + step[1]];
    if (next) { next.focus(); event.preventDefault(); }
  };
  result.rows.forEach((row, r) => cells.push(row.map((words, c) =>
    h("button", {
      type: "button", class: shade(words[0].prob), title: `${words[0].token} ${percent(words[0].prob)}`, tabindex: "-1",
      "aria-label": `${layerName(r)}, ${token(result.tokens[c])}: ${token(words[0].token)}, ${percent(words[0].prob)}`,
      on: { click: () => pick(r, c), keydown: (event) => arrows(event, r, c) },
    }, token(words[0].token)))));
  const order = result.rows.map((_, r) => r).reverse();
  const table = h("table", { class: "lens" },
    h("thead", {}, h("tr", {}, h("th"), result.tokens.map((text) => h("th", { scope: "col" }, token(text))))),
    h("tbody", {}, order.map((r) => h("tr", {}, h("th", { scope: "row" }, layerName(r)), cells[r].map((cell) => h("td", {}, cell))))));
  panel.show(!SITE && pager({ first: result.first, shown: result.tokens.length, length: result.length ?? result.tokens.length }, goto), h("div", { class: "scroll" }, table), side);
  const [r, at] = pair(chosen) || [], c = at - result.first;
  if (cells[r]?.[c]) pick(r, c);
  else pick(result.rows.length - 1, result.tokens.length - 1);
}
