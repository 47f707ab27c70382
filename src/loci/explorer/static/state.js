// What is shown stands in the address: view, question, patches that are on. The back button works, and links can be kept.

export function read() {
  const [view, query] = location.hash.replace(/^#/, "").split("?");
  return { view: view || "ask", ...Object.fromEntries(new URLSearchParams(query || "")) };
}

export function address(state) {
  const { view, ...rest } = state;
  const kept = Object.entries(rest).filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false);
  const query = new URLSearchParams(kept.map(([name, value]) => [name, String(value)])).toString();
  return `#${view}${query ? `?${query}` : ""}`;
}

// What goes along from view to view.
const ALONG = ["q", "s", "a", "p", "m", "lesson", "step"];

export function to(view, changes = {}) {
  const now = read();
  const along = Object.fromEntries(ALONG.filter((name) => now[name]).map((name) => [name, now[name]]));
  return address({ ...along, ...changes, view });
}

export const go = (view, changes) => { location.hash = to(view, changes); };

// A detail of the view that is there: it is written down, and nothing is drawn anew.
export function note(changes) {
  history.replaceState(null, "", address({ ...read(), ...changes }));
}

// A step that the back button should undo.
export function step(changes) {
  location.hash = address({ ...read(), ...changes });
}

export const patches = (state = read()) => (state.p ? state.p.split(".") : []);

// "3.14" as two numbers; null where it is not.
export function pair(text) {
  const found = /^(\d+)\.(\d+)$/.exec(text || "");
  return found ? [Number(found[1]), Number(found[2])] : null;
}
