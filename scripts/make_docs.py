"""Write docs/models.md from the tables of layouts and points: python scripts/make_docs.py (a test
holds that it is as written).
"""

from dataclasses import fields
from pathlib import Path

from loci.model import LAYOUTS, POINTS, Layout, Point
from loci.model.points import ATTENTION, lacks

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
HEAD = """<!-- Written by scripts/make_docs.py from src/loci/model/layouts.py and points.py; do not edit, run it again. -->

# Which models, which points

## Models

A family is a row of one table that says where its parts are.
A model is recognised by its structure, never by its name. Of the rows whose parts are all there, the first that adds up in a short run is taken. Where none does, the model is refused with the reason.
`loci doctor -m MODEL` proves the rest on a model of yours. `layout=loci.Layout(...)` (`--layout FILE.json`) opens a family that is not here.

| family | models | what is special |
|---|---|---|
"""
POINTS_HEAD = """
Refused, because their parts do not add up to the model:

* OPT-350m (its residual stream is normalised) and BLOOM with the norm in the stream;
* Granite with scaled residuals, and Cohere (scaled logits);
* BitNet (a norm between keys and values), and DiffLlama (two patterns in a head);
* models with attention sinks (GPT-OSS, Granite SWA);
* mixtures with an expert that all tokens share (Qwen2-MoE, DeepSeek);
* latent or linear attention (DeepSeek, Qwen3-Next).

On opening Loci checks that

* every norm of the row gives what attention and MLP read;
* the outputs add up to the residual stream, the weights give the outputs, and the stream gives the logits;
* a neuron depends on its own key alone;
* the pattern mixes the values into what the heads write.

Transformers 5.23 has 189 causal families. Each was tried as a tiny random model (`python -m benchmarks.families`): 44 open and are healthy, 128 are refused in one line, of 17 no tiny model could be made.
Pickled weights and a checkpoint's own code are loaded only when asked for (`--pickle`, `--trust-remote-code`).

### Text

**BOS.** Before every text stands what the tokenizer puts there, and one BOS where one is defined, never two.
A text that begins with a BOS of its own, as chat templates write it, gets no other.
A token that the tokenizer has and the embedding has not is refused by name where it is used.

**Ends.** A text ends at any of the end tokens of the tokenizer, the configuration and the generation settings.

**Greedy** is the argmax of the logits. Repetition penalties, forbidden or forced tokens, beams, and whatever else a checkpoint's generation settings say, are neither used nor changed.

**Joins.** An answer follows its prompt after a space.
It follows without one behind white space, a script without spaces, an opening bracket or quote, a currency sign or a special token.
The model itself overrules this, if its likeliest next token is the answer's first one written the other way, or if nine tenths of what it would say next begins the other way.
`--join space` or `--join nothing` (`join=` of `loci.open`) decides it for all prompts.
Scores, traces, edits and audits ask the same function. The tokens of a prompt are those of the prompt alone, so what is scored and taught is what the model would go on with.

Logits are made of the positions that are read, at most 128 MiB of them at once, whatever the vocabulary.

## Points

A point is a tensor that can be read (`model.watch`, `model.read`) and replaced (`model.patched`) under Loci's name, TransformerLens's or
nnterp's. `{}` is the layer. Sums of contributions hold everywhere: `resid_pre + attn_out + mlp_out = resid_post`.

| point | shape | what it is | TransformerLens | nnterp | not in |
|---|---|---|---|---|---|
"""
FOOT = """
**Coming from TransformerLens or nnterp:** TransformerLens's `hook_mlp_out` is what the residual stream gains (`mlp_out`); nnterp's `mlps_output` is what the MLP computes (`mlp_raw`).
They differ where a norm stands behind the MLP.
`blocks.{}.hook_mlp_in` and `hook_attn_in` (the norm's input) and `hook_normalized` (without the norm's gain) have no point here: `mlp_in` and `attn_in` are what the weights are multiplied with.

## Weights

Every matrix is `[out, in]` and acts on column vectors; heads come first.
All but the folded ones are views of the parameters. Shared keys and values are repeated for each query head unless `expand=False`.

| name | shape | what it is |
|---|---|---|
| `W_E`, `W_U`, `b_U` | `[d_vocab, d_model]`, `[d_vocab]` | embedding (before the family's `embed_scale`), unembedding |
| `W_Q(L)`, `W_K(L)`, `W_V(L)` | `[n_heads, d_head, d_model]` | queries, keys, values; biases `b_Q`, `b_K`, `b_V` |
| `W_O(L)`, `b_O(L)` | `[n_heads, d_model, d_head]` | what each head writes |
| `W_up(L)`, `W_gate(L)`, `W_key(L)` | `[d_mlp, d_model]` | `W_key` is the gate where there is one, else up; biases `b_up`, `b_gate`, `b_key` |
| `W_down(L)`, `b_down(L)` | `[d_model, d_mlp]` | values: column i is what neuron i writes |
| `norm(name, L)` | gain, bias, centres | computed: asked of the norm itself |
| `folded("W_Q.3")` | weight, bias | computed: the norm before it folded in |

In a mixture `W_up`, `W_gate` and `W_down` take `expert=`. `loci.open_weights(source)` gives the same names without building the model:
each tensor is read from its file when it is asked for.
"""


def special(layout: Layout) -> str:
    """What sets a row apart, in words."""
    said = []
    if layout.experts:
        said.append("MLPs are mixtures of experts: points of single neurons have no meaning")
    if layout.parallel:
        said.append("attention and MLP side by side")
    if layout.attn_post:
        said.append(
            "norms behind the sub-layers"
            if not layout.attn_norm
            else "norms before and behind the sub-layers"
        )
    if layout.gate:
        said.append("gated, gate and up fused" if layout.gate == layout.up else "gated")
    if layout.q == layout.k:
        said.append("q, k, v fused" + (" head group by head group" if layout.grouped else ""))
    return "; ".join(said)


def lacking(point: Point) -> str:
    """The families without a point: named, or where they are many, those that have it."""
    without = [layout.family for layout in LAYOUTS if lacks(layout, point)]
    having = [layout.family for layout in LAYOUTS if layout.family not in without]
    if point.name in ATTENTION:
        return "Falcon with ALiBi"  # found out on the model itself
    few = without if len(without) <= len(having) else having
    return ("" if few is without else "only in ") + ", ".join(f"`{family}`" for family in few)


def page() -> str:
    rows = [f"| `{row.family}` | {row.models} | {special(row)} |" for row in LAYOUTS]
    points = [
        f"| `{p.name}` | `[{', '.join(p.shape.split())}]` | {p.meaning} |"
        f" {', '.join(f'`{n}`' for n in p.transformer_lens)} |"
        f" {f'`{p.nnterp}`' if p.nnterp else ''} | {lacking(p)} |"
        for p in POINTS
    ]
    named = ", ".join(f"`{field.name}`" for field in fields(Layout))
    layout = f"\nThe fields of a `Layout`: {named}.\n"
    return HEAD + "\n".join(rows) + "\n" + layout + POINTS_HEAD + "\n".join(points) + "\n" + FOOT


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
