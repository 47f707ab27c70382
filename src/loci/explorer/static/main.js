// The page: which view is shown, what stands above it, keys that work everywhere.

import { ask as question, post, start } from "./api.js";
import { add, announce, clear, h } from "./dom.js";
import { go, note, patches, read, to } from "./state.js";
import { wholeView } from "./save.js";
import { SITE } from "./site.js";
import { t } from "./strings.js";
import * as ask from "./views/ask.js";
import * as checkpoint from "./views/checkpoint.js";
import * as edit from "./views/edit.js";
import * as features from "./views/features.js";
import * as heads from "./views/heads.js";
import * as lab from "./views/lab.js";
import * as learn from "./views/learn.js";
import * as neuron from "./views/neuron.js";
import * as searching from "./views/search.js";
import * as trace from "./views/trace.js";

const ALL = { ask, trace, neuron, edit, search: searching, heads, features, checkpoint, lab, learn };
// Without a model nothing can be edited, and no checkpoint read.
const VIEWS = SITE ? { ask, trace, neuron, search: searching, heads, lab } : ALL;
const byId = (id) => document.getElementById(id);
const page = { start: null, about: null };
let leaving = null;

// The model, opened by a worker while the page stands already.
export const about = () => (page.about ??= question("about", {}).then((found) => found.result));

function theme(next) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = next || localStorage.getItem("loci-theme") || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  if (next) localStorage.setItem("loci-theme", next);
  return now;
}

function top() {
  const now = theme();
  const on = patches();
  const other = now === "dark" ? "light" : "dark";
  add(
    clear(byId("top")),
    h("a", { class: "brand", href: "#ask" }, h("img", { src: "icon.svg", alt: "" }), "Loci"),
    h("span", { class: "model" }, page.start.model),
    h("span", { class: "space" }),
    VIEWS.edit && h("a", { href: to("edit") }, on.length ? t("patchesOn", { n: on.length }) : t("patchesNone")),
    h("button", { type: "button", class: "quiet", on: { click: () => wholeView(document.title) } }, t("saveView")),
    h("button", { type: "button", class: "quiet", "aria-label": `${t("theme")}: ${t(other)}`, on: { click: () => { theme(other); top(); } } }, t(other)),
    !SITE && h("button", { type: "button", class: "quiet", on: { click: stop } }, t("stop")),
  );
}

function nav(view) {
  byId("nav").setAttribute("aria-label", t("views"));
  add(clear(byId("nav")), Object.keys(VIEWS).map((name) =>
    h("a", { href: to(name), "aria-current": name === view ? "page" : null }, t(`view_${name}`))));
  byId("nav").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

async function stop() {
  if (!confirm(t("stopAsk"))) return;
  leaving?.abort();
  await post("/api/stop").catch(() => {});
  add(clear(document.body), h("main", { id: "content" }, h("p", { class: "lead" }, t("stopped"))));
}

async function stale() {
  const made = read().m;
  const model = await about();
  const is = model.fingerprint.replace("sha256:", "").slice(0, 12);
  byId("banner").hidden = !made || made === is;
  if (made && made !== is) byId("banner").textContent = t("staleModel", { was: made, is: `${model.model} ${is}` });
  if (!made) note({ m: is });
}

async function show() {
  if (!page.start) return;
  leaving?.abort();
  leaving = new AbortController();
  const signal = leaving.signal;
  const state = read();
  const view = VIEWS[state.view];
  document.body.classList.remove("has-max");
  top();
  nav(state.view);
  learn.aside(byId("lesson"));
  const root = clear(byId("content"));
  document.title = `${t(`view_${state.view}`)} · ${t("title")}`;
  if (!view) { add(root, h("p", { class: "lead" }, t("unknownView"))); return; }
  add(root, h("h1", { tabindex: "-1" }, t(`view_${state.view}`)));
  announce(t(`view_${state.view}`));
  if (SITE) add(root, h("p", { class: "note" }, t("siteNote", { model: page.start.model })));
  if (patches(state).length) add(root, h("p", { class: "note" }, t("patchOnNote", { names: patches(state).join(", ") })));
  stale().catch(() => {});
  await view.render(root, { state, signal, about, start: page.start, on: patches(state) });
}

// "/" goes to the first field, numbers to the views, Escape makes a panel small again.
function keys(event) {
  if (event.key === "Escape") {
    document.querySelectorAll(".panel.max").forEach((one) => one.classList.remove("max"));
    document.body.classList.remove("has-max");
    document.querySelectorAll("details.tools[open]").forEach((one) => { one.open = false; });
    return;
  }
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const name = /^\d$/.test(event.key) && Object.keys(VIEWS)[(Number(event.key) + 9) % 10];
  if (name) go(name);
  if (event.key === "/") { byId("content").querySelector("input")?.focus(); event.preventDefault(); }
}

document.addEventListener("keydown", keys);
document.addEventListener("click", (event) => {
  document.querySelectorAll("details.tools[open]").forEach((one) => { if (!one.contains(event.target)) one.open = false; });
});
addEventListener("hashchange", show);
byId("skip").textContent = t("skip");
byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("content").focus(); });
theme();
start().then((found) => { page.start = found; return show(); }).catch((error) => { add(byId("content"), h("p", { class: "lead" }, error.message)); });
