// Search: from words to neurons. Those that write a word are found in the weights at once; those that fire at it need an atlas.

import { add, h, number, percent, signed } from "../dom.js";
import { Panel, button } from "../panel.js";
import { SITE } from "../site.js";
import { go, note, to } from "../state.js";
import { t } from "../strings.js";

const link = (name) => h("a", { href: to("neuron", { n: name }) }, name);
const SQL = "SELECT layer, count(*) AS neurons, avg(firing_rate) AS firing FROM neurons GROUP BY layer ORDER BY layer";

export async function render(root, { state, signal, start }) {
  const word = state.w || start.word;
  if (!state.w && word) note({ w: word });
  const field = h("input", { name: "w", value: word, required: true, dir: "auto", placeholder: t("wordHint"), autocomplete: "off" });
  add(root, h("p", { class: "lead" }, t("searchLead")),
    h("form", { on: { submit: (event) => { event.preventDefault(); go("search", { w: field.value.trim() }); } } },
      h("label", { class: "grow" }, t("word"), field), h("button", { class: "main" }, t("find"))));
  const writes = new Panel(t("writesTitle"), { id: "promoting", note: t("writesNote") });
  const fires = new Panel(t("firesTitle"), { id: "find", note: t("firesNote") });
  const sql = new Panel(t("sqlTitle"), { id: "sql", note: t("sqlNote"), wide: true });
  add(root, h("div", { class: "panels" }, writes.root, fires.root, !SITE && sql.root));
  if (!SITE) drawSql(sql, signal);
  if (!word) { field.focus(); return; }
  if (SITE) build(fires, word, signal);
  else fires.show(h("div", { class: "row" }, button(t("buildAtlas"), () => build(fires, word, signal), { data: { does: "atlas" } })));
  await writes.run("promoting", { word, top: 20 }, (found) => {
    const most = Math.max(...found.neurons.map((one) => one.score), 1e-9);
    writes.show(h("p", {}, t("firstToken", { token: found.token.trim() })),
      h("ol", { class: "bars" }, found.neurons.map((one) => h("li", {}, link(one.name),
        h("span", { class: "track" }, h("span", { class: "fill", width: `${(100 * one.score) / most}%` })), h("span", { class: "value" }, signed(one.score))))));
  }, { signal, rows: (found) => [["neuron", "score"], ...found.neurons.map((one) => [one.name, one.score])] });
}

async function build(panel, word, signal) {
  const made = await panel.run("atlas", { tokens: 20000 }, () => {}, { signal, on: [] });
  if (!made) return;
  await panel.run("find", { word, top: 15 }, (found) => {
    const table = (items, columns) => h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, t("neuron")), columns.map(([name]) => h("th", { class: "n" }, name)))),
      h("tbody", {}, items.map((one) => h("tr", {}, h("td", {}, link(one.name)), columns.map(([, form]) => h("td", { class: "n" }, form(one)))))));
    panel.show(
      h("p", { class: "note" }, t("atlasOf", { source: made.text ?? "", tokens: (made.tokens ?? 0).toLocaleString("en") })),
      found.fires.length ? table(found.fires, [[t("times"), (one) => one.triggers], [t("largest"), (one) => number(one.activation)], [t("rate"), (one) => percent(one.firing_rate, 2)]]) : h("p", {}, t("firesNone")),
    );
  }, { signal, on: [], rows: (found) => [["neuron", "triggers", "activation", "rate"], ...found.fires.map((one) => [one.name, one.triggers, one.activation, one.firing_rate])] });
}

function drawSql(panel, signal) {
  const field = h("textarea", { rows: 3, "aria-label": "SQL", spellcheck: "false" });
  field.value = SQL;
  const place = h("div", { class: "scroll" });
  const ask = () => panel.run("sql", { sql: field.value }, (found) => {
    place.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, found.columns.map((name) => h("th", {}, name)))),
      h("tbody", {}, found.rows.slice(0, 500).map((row) => h("tr", {}, row.map((value) =>
        h("td", { class: typeof value === "number" ? "n" : "" }, typeof value === "number" ? number(value, 6) : String(value))))))));
  }, { signal, on: [], rows: (found) => [found.columns, ...found.rows] });
  panel.show(field, h("div", { class: "row" }, button(t("run"), ask)), place);
}

