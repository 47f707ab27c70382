// Search that forgives slips: the words of the question each stand in the text, or nearly do.

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

// Slips between a word and another, or a beginning of it: letters that are wrong, missing, too many, or swapped with the next.
function away(word, other, most) {
  if (other.startsWith(word)) return 0;
  if (word.length - other.length > most) return most + 1;
  let before = null, row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (let i = 1; i <= word.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (word[i - 1] === other[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && word[i - 1] === other[j - 2] && word[i - 2] === other[j - 1]) next[j] = Math.min(next[j], before[j - 2] + 1);
    }
    before = row;
    row = next;
  }
  return Math.min(...row);
}

// The indices of the texts that match best. `texts` are folded once by the caller with `prepare`.
export const prepare = (texts) => texts.map((text) => fold(text).split(/[^\p{L}\p{N}]+/u).filter(Boolean));

export function search(prepared, query, most = 60) {
  const words = fold(query).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  if (!words.length) return { found: prepared.slice(0, most).map((_, i) => i), all: prepared.length };
  const scored = [];
  prepared.forEach((other, i) => {
    let sum = 0;
    for (const word of words) {
      const slips = word.length < 4 ? 0 : word.length < 8 ? 1 : 2;
      let best = slips + 1;
      for (const one of other) { best = Math.min(best, away(word, one, slips)); if (!best) break; }
      if (best > slips) return;
      sum += best;
    }
    scored.push([sum, i]);
  });
  scored.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return { found: scored.slice(0, most).map(([, i]) => i), all: scored.length };
}
