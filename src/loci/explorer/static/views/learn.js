// Learn: lessons to start. A lesson stands beside the views and drives them.

import { add, clear, h } from "../dom.js";
import { button } from "../panel.js";
import { LESSONS } from "../lessons.js";
import { address, read } from "../state.js";
import { t } from "../strings.js";

const at = (lesson, i) => {
  const [, , view, changes] = LESSONS[lesson].steps[i];
  const { p, m } = read();
  return address({ ...changes, ...(p && { p }), ...(m && { m }), lesson, step: i, view });
};

export function render(root, { start }) {
  add(root, h("p", { class: "lead" }, t("learnLead")), h("div", { class: "panels" }, Object.entries(LESSONS).map(([name, lesson]) =>
    h("section", { class: "panel", "aria-label": lesson.title },
      h("h2", {}, lesson.title), h("p", {}, lesson.about),
      lesson.demo && start.model !== "demo" && h("p", { class: "note" }, t("lessonDemo")),
      h("ol", {}, lesson.steps.map(([title], i) => h("li", {}, h("a", { href: at(name, i) }, title)))),
      h("div", { class: "row" }, button(t("lessonStart"), () => { location.hash = at(name, 0); }, { class: "main", data: { starts: name } }))))),
  h("p", { class: "note" }, t("moreLessons")));
}

// The lesson beside the view, where one is on.
export function aside(place) {
  const { lesson, step } = read();
  const found = LESSONS[lesson];
  place.hidden = !found;
  if (!found) return;
  const i = Math.max(0, Math.min(found.steps.length - 1, Number(step) || 0));
  const [title, text] = found.steps[i];
  place.setAttribute("aria-label", found.title);
  const { lesson: _, step: __, ...rest } = read();
  add(clear(place),
    h("p", { class: "note" }, `${found.title} · ${i + 1} / ${found.steps.length}`),
    h("h2", {}, title), h("p", {}, text),
    h("div", { class: "steps" },
      button(t("back"), () => { location.hash = at(lesson, i - 1); }, { disabled: i === 0 }),
      button(i + 1 < found.steps.length ? t("forward") : t("finish"), () => { location.hash = i + 1 < found.steps.length ? at(lesson, i + 1) : address({ ...rest, view: "learn" }); }, { class: "main", data: { does: "forward" } }),
      h("a", { href: address(rest) }, t("leave"))));
}
