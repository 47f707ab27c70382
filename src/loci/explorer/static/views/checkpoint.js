// Checkpoint: two folders or files; which weights changed, and whom the change is about.

import { ask } from "../api.js";
import { add, h, number, percent } from "../dom.js";
import { Panel, button } from "../panel.js";
import { go, patches } from "../state.js";
import { t } from "../strings.js";

export async function render(root, { state, signal, start, on }) {
  const base = h("input", { name: "base", value: state.base || start.model, required: true, autocomplete: "off", spellcheck: "false" });
  const edited = h("input", { name: "edited", value: state.edited || "", placeholder: t("editedHint"), autocomplete: "off", spellcheck: "false" });
  const panel = new Panel(t("forensicsTitle"), { id: "forensics", note: t("forensicsNote"), wide: true });
  const write = async () => {
    panel.say(t("writing"));
    try {
      const { result } = await ask("folder", {}, { patches: patches(), signal });
      go("checkpoint", { base: start.model, edited: result.folder });
    } catch (error) { panel.say(error.name === "AbortError" ? "" : error.message, "bad"); }
  };
  add(root, h("p", { class: "lead" }, t("checkpointLead")),
    h("form", { on: { submit: (event) => { event.preventDefault(); go("checkpoint", { base: base.value.trim(), edited: edited.value.trim(), go: Date.now() }); } } },
      h("label", { class: "grow" }, t("before_"), base), h("label", { class: "grow" }, t("after_"), edited), h("button", { class: "main" }, t("compare"))),
    on.length > 0 && h("div", { class: "row" }, button(t("writeFolder"), write, { data: { does: "folder" } })),
    h("div", { class: "panels" }, panel.root));
  if (!state.base) { panel.show(h("p", { class: "note" }, t("forensicsOpen"))); return; }
  const args = { base: state.base, ...(state.edited ? { edited: state.edited } : {}) };
  await panel.run("forensics", args, (found) => draw(panel, found), { signal, on: [], rows });
}

const rows = (found) => [["subject", "score", "share", "edited"], ...found.subjects.map((one) => [one.subject, one.score, one.share, one.edited])];

function draw(panel, found) {
  const table = (heads, lines) => h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((name, i) => h("th", { class: i && name !== t("saysNow") ? "n" : "" }, name)))), h("tbody", {}, lines)));
  if (found.base === null) {
    panel.show(h("p", { class: "verdict" }, found.verdict), table([t("weight"), t("measureName"), "z"], found.weights.slice(0, 10).map((one) =>
      h("tr", {}, h("td", {}, one.name), h("td", { class: "n" }, one.measure), h("td", { class: "n" }, number(one.z))))));
    return;
  }
  const changed = found.weights.filter((one) => !one.rounding).sort((a, b) => b.relative_norm - a.relative_norm);
  const suspects = found.subjects.filter((one) => one.edited);
  const now = (one) => one.answers.filter((answer) => answer.changed).map((answer) => h("div", { dir: "auto" }, answer.prompt, " ", h("s", {}, answer.old), " → ", h("b", {}, answer.new)));
  panel.show(
    h("p", { class: "verdict" }, found.verdict),
    h("h3", {}, t("changedWeights", { n: found.weights.length, all: found.compared })),
    table([t("weight"), "‖Δ‖ / ‖W‖", t("rank")], changed.slice(0, 20).map((one) => h("tr", {}, h("td", {}, one.name), h("td", { class: "n" }, number(one.relative_norm)), h("td", { class: "n" }, one.rank)))),
    h("h3", {}, t("suspects")),
    suspects.length ? table([t("subject"), t("score"), t("share_"), t("saysNow")], suspects.slice(0, 20).map((one) =>
      h("tr", {}, h("td", {}, one.subject), h("td", { class: "n" }, number(one.score)), h("td", { class: "n" }, percent(one.share)), h("td", {}, now(one).length ? now(one) : t("asBefore"))))) : h("p", {}, t("noSuspect")),
  );
}
