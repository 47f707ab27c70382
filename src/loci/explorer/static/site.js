// A copy without a server: answers lie in files, and a question that was not asked before has none.

import { prepare, search } from "./search.js";
import { t } from "./strings.js";

export const SITE = document.documentElement.hasAttribute("data-site");

const kept = new Map();
export function file(name) {
  if (!kept.has(name)) kept.set(name, fetch(`data/${name}`).then((found) => {
    if (!found.ok) throw new Error(t("siteMissing", { name }));
    return found.json();
  }));
  return kept.get(name);
}

const sorted = (args) => JSON.stringify(Object.fromEntries(Object.entries(args).sort(([a], [b]) => (a < b ? -1 : 1))));

async function card(name) {
  const [, layer, neuron] = /^L(\d+)N(\d+)$/.exec(name) || [];
  const about = await file("atlas.json");
  if (!(Number(layer) < about.layers && Number(neuron) < about.d_mlp)) throw new Error(t("siteNeuron", { name, last: `L${about.layers - 1}N${about.d_mlp - 1}` }));
  return (await file(`neurons/L${Number(layer)}-${Math.floor(neuron / about.neurons)}.json`))[neuron % about.neurons];
}

// What an atlas knows of a word; where it knows none, words that are spelt nearly so.
async function word(said) {
  const wanted = said.trim().toLowerCase();
  const [words, about] = await Promise.all([file("words.json"), file("atlas.json")]);
  const at = words.indexOf(wanted);
  if (at < 0) {
    const near = search(prepare(words), wanted).found.slice(0, 5).map((i) => words[i]);
    throw new Error(t(near.length ? "siteNear" : "siteNoWord", { word: said, near: near.join(", ") }));
  }
  return { word: wanted, ...(await file(`words/${Math.floor(at / about.words)}.json`))[at % about.words] };
}

const named = ([layer, neuron, ...rest]) => ({ name: `L${layer}N${neuron}`, layer, neuron, rest });
const VERBS = {
  card: async ({ neuron, top }) => {
    const one = await card(neuron);
    return { ...one, promotes: one.promotes.slice(0, top), suppresses: one.suppresses.slice(0, top) };
  },
  read: ({ neuron }) => card(neuron),
  histogram: async ({ neuron }) => {
    const one = await card(neuron);
    return { schema: "loci.histogram/1", name: neuron, tokens: one.bins.reduce((sum, bin) => sum + bin.count, 0), bins: one.bins };
  },
  promoting: async ({ word: said, top }) => {
    const found = await word(said);
    return { schema: "loci.promoting/1", word: said, token: found.word, neurons: found.promotes.map(named).slice(0, top).map(({ rest, ...one }) => ({ ...one, score: rest[0] })) };
  },
  find: async ({ word: said, top }) => {
    const found = await word(said);
    return { schema: "loci.atlas_find/1", word: found.word, fires: found.fires.map(named).slice(0, top).map(({ rest, ...one }) => ({ ...one, triggers: rest[0], activation: rest[1], firing_rate: rest[2] })) };
  },
  atlas: () => file("atlas.json"),
};

// One layer's patterns are those of all, of which it is a part.
function layerOf(args) {
  const layer = /^L(\d+)H0$/.exec(args.heads?.[0] || "")?.[1];
  return layer === undefined ? null : { layer, all: { ...args, heads: [] } };
}

export async function answer(verb, args) {
  const part = verb === "attention" ? layerOf(args) : null;
  if (part) {
    const { result } = await answer(verb, part.all);
    const of = (heads) => Object.fromEntries(Object.entries(heads).filter(([name]) => name.startsWith(`L${part.layer}H`)));
    return { result: { ...result, plain: of(result.plain), weighted: of(result.weighted) } };
  }
  if (VERBS[verb]) return { result: await VERBS[verb](args) };
  const { answers, defaults } = await file("answers.json");
  const number = answers[`${verb} ${sorted({ ...defaults[verb], ...args })}`];
  if (number === undefined) throw new Error(t("siteOnly"));
  return file(`answers/${number}.json`);
}
