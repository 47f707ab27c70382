// A titled part of a view: what it shows, how far it is, and how to take it along.

import { add, announce, clear, h } from "./dom.js";
import { ask } from "./api.js";
import { copy, csv, download, png, svgText } from "./save.js";
import { patches, read } from "./state.js";
import { t } from "./strings.js";

function button(label, act, extra = {}) {
  return h("button", { type: "button", ...extra, on: { click: act } }, label);
}

export class Panel {
  constructor(title, { id, note, wide = false } = {}) {
    this.name = id || title.toLowerCase().replace(/\W+/g, "-");
    this.body = h("div", { class: "body" });
    this.status = h("div", { class: "status", role: "status", hidden: true });
    this.tools = h("details", { class: "tools" }, h("summary", { "aria-label": `${t("take")}: ${title}` }, t("take")));
    this.tools.hidden = true;
    this.big = button("⤢", () => this.maximise(), { class: "quiet", "aria-label": `${t("maximise")}: ${title}`, title: t("maximise") });
    this.heading = h("h2", {}, title);
    this.root = h(
      "section",
      { class: wide ? "panel wide" : "panel", "aria-label": title, data: { panel: this.name } },
      h("div", { class: "head" }, this.heading, this.tools, this.big),
      note && h("p", { class: "note" }, note),
      this.status,
      this.body,
    );
  }

  maximise() {
    const on = this.root.classList.toggle("max");
    document.body.classList.toggle("has-max", on);
    this.big.setAttribute("aria-pressed", String(on));
    if (on) this.root.scrollIntoView({ block: "start" });
  }

  show(...children) { add(clear(this.body), children); return this; }

  say(text, kind = "") {
    this.status.hidden = !text;
    this.status.className = `status ${kind}`;
    add(clear(this.status), text);
    return this;
  }

  progress(state, cancel) {
    const known = state.total > 0;
    const left = known ? this.left(state) : "";
    const text = state.state === "queued" ? t("waiting") : known ? t("working", { share: `${Math.round((100 * state.done) / state.total)}%` }) + left : t("opening");
    const bar = h("progress", known ? { max: state.total, value: Math.min(state.done, state.total), "aria-label": text } : { "aria-label": text });
    this.status.hidden = false;
    this.status.className = "status";
    add(clear(this.status), bar, h("span", {}, text), cancel && button(t("cancel"), cancel, { class: "quiet" }));
  }

  // How long it may still take, by how long the steps took since the first of them.
  left({ done, total }) {
    if (!this.pace || this.pace.total !== total || done < this.pace.done) this.pace = { total, done, since: performance.now() };
    const seconds = ((performance.now() - this.pace.since) / 1000 / (done - this.pace.done)) * (total - done);
    if (!(seconds > 5) || !Number.isFinite(seconds)) return "";
    return `, ${t("left", { time: seconds < 90 ? t("seconds", { n: Math.round(seconds) }) : t("minutes", { n: Math.round(seconds / 60) }) })}`;
  }

  // What can be taken along: the result, a table of rows, the drawings that are in the panel.
  give({ result, command, python, rows }) {
    const file = `loci-${this.name}`;
    const list = h("div", { class: "menu" });
    if (command) add(list, button(t("copyCommand"), () => copy(command), { title: command, data: { copies: "command" } }));
    if (python) add(list, button(t("copyPython"), () => copy(python), { title: python, data: { copies: "python" } }));
    if (result) add(list, button("JSON", () => download(`${file}.json`, JSON.stringify(result), "application/json")));
    if (rows) add(list, button("CSV", () => download(`${file}.csv`, csv(rows()), "text/csv")));
    if (this.body.querySelector("svg.figure")) {
      add(
        list,
        button("SVG", () => this.drawings().forEach((svg, i) => download(`${file}${i || ""}.svg`, svgText(svg), "image/svg+xml"))),
        button("PNG", () => this.drawings().forEach((svg, i) => png(svg, `${file}${i || ""}.png`))),
      );
    }
    this.tools.querySelector(".menu")?.remove();
    add(this.tools, list);
    this.tools.hidden = !list.children.length;
    this.tools.dataset.command = command || "";
  }

  drawings() { return [...this.body.querySelectorAll("svg.figure")]; }

  // Ask, show how far it is, draw what comes. Returns the result, or null where there is none.
  async run(verb, args, draw, { signal, on = patches(read()), rows, part } = {}) {
    const own = new AbortController();
    signal?.addEventListener("abort", () => own.abort());
    this.abort?.();
    this.abort = () => own.abort();
    const late = setTimeout(() => this.progress({ state: "running", total: 0 }, () => own.abort()), 120);
    try {
      const found = await ask(verb, args, {
        patches: on,
        signal: own.signal,
        onstate: (state) => {
          if (["queued", "running"].includes(state.state)) { clearTimeout(late); this.progress(state, () => own.abort()); }
          if (state.part && part) part(state.part);
        },
      });
      clearTimeout(late);
      if (own.signal.aborted) return null;
      this.say("");
      await draw(found.result);
      this.give({ ...found, rows: rows && (() => rows(found.result)) });
      return found.result;
    } catch (error) {
      clearTimeout(late);
      if (error.name === "AbortError") { this.say(signal?.aborted ? "" : t("cancelled")); return null; }
      this.say(error.status === 503 ? `${error.message}` : error.message, "bad");
      announce(error.message);
      return null;
    }
  }
}

// A window onto a long row of tokens: which of them are shown, and the way to those before and after.
export function pager({ first, shown, length }, goto) {
  if (shown >= length) return null;
  const move = (end) => goto(Math.max(shown, Math.min(length, end)));
  return h("div", { class: "row pager" },
    button(t("tokensBefore"), () => move(first), { disabled: first === 0, data: { moves: "before" } }),
    h("span", {}, t("tokensShown", { first: first + 1, last: first + shown, n: length.toLocaleString("en") })),
    button(t("tokensAfter"), () => move(first + 2 * shown), { disabled: first + shown >= length, data: { moves: "after" } }));
}

export { button };
