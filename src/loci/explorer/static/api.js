// The server's API: ask a question, follow it, fetch its result. A copy without a server answers from its files.

import { SITE, answer, file } from "./site.js";

async function json(response) {
  let body;
  try { body = await response.json(); } catch { throw new Error(`the explorer answered ${response.status}`); }
  if (!response.ok) {
    const error = new Error(body.error || `the explorer answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return body;
}

const reach = async (path, options) => {
  try { return await fetch(path, options); }
  catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the explorer does not answer: it may have been stopped");
  }
};

export const get = async (path) => json(await reach(path));
export const post = async (path, body) =>
  json(await reach(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body || {}) }));

function follow(job, { signal, onstate }) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/api/jobs/${job.id}/events`);
    let lost = 0;
    const end = (act, value) => { source.close(); signal?.removeEventListener("abort", stop); act(value); };
    const stop = () => { post(`/api/jobs/${job.id}/cancel`).catch(() => {}); end(reject, new DOMException("stopped", "AbortError")); };
    if (signal?.aborted) { stop(); return; }
    signal?.addEventListener("abort", stop);
    source.onmessage = (event) => {
      lost = 0;
      const state = JSON.parse(event.data);
      onstate?.(state);
      if (state.state === "done") end(resolve, state);
      else if (state.state === "failed") end(reject, new Error(state.error));
      else if (state.state === "cancelled") end(reject, new DOMException("stopped", "AbortError"));
    };
    source.onerror = () => { lost += 1; if (lost > 20) end(reject, new Error("the explorer does not answer: it may have been stopped")); };
  });
}

// The result of a question, with the question as a command and in Python.
export async function ask(verb, args, { patches = [], signal, onstate } = {}) {
  if (SITE) return answer(verb, args);
  const job = await post("/api/jobs", { verb, args, patches });
  const last = job.state === "done" ? job : await follow(job, { signal, onstate });
  const result = await get(`/api/results/${last.key}`);
  return { result, command: job.command, python: job.python };
}

export const start = () => (SITE ? file("start.json") : get("/api/start"));
