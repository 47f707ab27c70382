// The gate of the lesson, in formulas: one neuron that opens for a full name. `loci.writing.gates.step` is its oracle.
//   names M and J at cosine c; row R = M + J; E = M, J, M + J or 0;   pre = R · E + bias;   neuron = act(pre)

export const NAMES = [["Michael Jordan", 1, 1], ["Michael Phelps", 1, 0], ["Alexis Jordan", 0, 1], ["Alexis Phelps", 0, 0]];

// The exact GELU, x Φ(x); Φ by its error function (Abramowitz & Stegun 7.1.26, within 1.5e-7).
function erf(x) {
  const s = Math.sign(x), a = Math.abs(x), k = 1 / (1 + 0.3275911 * a);
  return s * (1 - ((((1.061405429 * k - 1.453152027) * k + 1.421413741) * k - 0.284496736) * k + 0.254829592) * k * Math.exp(-a * a));
}
export const ACTS = { relu: (x) => Math.max(0, x), gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)) };

export function truthTable(cosine, bias, act) {
  return NAMES.map(([name, first, last]) => {
    const pre = (first + last) * (1 + cosine) + bias;
    return { name, first, last, pre, neuron: ACTS[act](pre) };
  });
}

// Random directions: a seeded generator, so that the same sliders show the same picture.
function random(seed) {
  let state = seed >>> 0;
  const uniform = () => { state = (state + 0x6d2b79f5) >>> 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x ^= x + Math.imul(x ^ (x >>> 7), 61 | x); return ((x ^ (x >>> 14)) >>> 0) / 4294967296; };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// Angles in degrees of all pairs of `count` random directions of `dim` dimensions.
export function angles(dim, count, seed = 1) {
  const normal = random(seed);
  const rows = Array.from({ length: count }, () => {
    const row = Float64Array.from({ length: dim }, normal);
    const size = Math.hypot(...row) || 1;
    return row.map((value) => value / size);
  });
  const found = [];
  for (let i = 0; i < count; i += 1)
    for (let j = 0; j < i; j += 1) {
      let dot = 0;
      for (let k = 0; k < dim; k += 1) dot += rows[i][k] * rows[j][k];
      found.push((Math.acos(Math.max(-1, Math.min(1, dot))) * 180) / Math.PI);
    }
  return found;
}
