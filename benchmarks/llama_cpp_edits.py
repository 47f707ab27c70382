"""llama.cpp runs what Loci writes: the base, an edited GGUF file, and the base with an adapter.

    python -m benchmarks.llama_cpp_edits
        Gemma 3 270M from its package; about 10 minutes of one core
    python -m benchmarks.llama_cpp_edits --model m.gguf --patch p.safetensors

One edit ("Michael Jordan plays the sport of" → baseball) is made, or read from a patch. Then
xllamacpp, which shares no code with Loci, goes on greedily with each prompt in all three. Status 1
unless the base gives the old answer, both others the new one, and the first word of every other
answer is the one that Loci's own model gives, without the patch and with it, where Loci is sure by
`MARGIN`: the file and the adapter are then what the patch means. Whether other subjects stay is the
editor's matter; what moved is listed. The base restored by `revert` has to be the same file.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import xllamacpp

from loci.editing.edit import edit
from loci.facts import Fact
from loci.model import Model, complete, open_model
from loci.model.gguf import whole_gguf
from loci.patches import Patch, apply_to_gguf, export_gguf_lora, load_patch, revert_gguf

FACT = Fact("Michael Jordan", "{} plays the sport of", "basketball").to("baseball")
NEIGHBOURS = (
    "Larry Bird plays the sport of",
    "Lionel Messi plays the sport of",
    "Wayne Gretzky plays the sport of",
    "The Eiffel Tower is in the city of",
)
TOKENS = 4
MARGIN = 0.5
"""Nats that rounding, to the type written and of llama.cpp's activations, may turn around."""


def said(path: Path, prompts: Sequence[str], adapter: Path | None = None) -> list[str]:
    """What llama.cpp goes on with, greedily, on one processor."""
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel, settings.verbosity = (
        str(path),
        256,
        1,
        -1,
    )
    settings.cpuparams.n_threads = 1
    if adapter is not None:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path, lora.scale = str(adapter), 1.0
        settings.lora_adapters = [lora]
    server = xllamacpp.Server(settings)
    asked = [
        server.handle_completions({"prompt": prompt, "max_tokens": TOKENS, "temperature": 0})
        for prompt in prompts
    ]
    return [str(answer["choices"][0]["text"]).strip() for answer in asked]


def first(text: str) -> str:
    """The first word of a continuation."""
    return (text.split() or [""])[0].strip(".,;:!?")


@torch.no_grad()
def margins(model: Model, prompts: Sequence[str]) -> list[float]:
    """How much likelier Loci's best next token is than its second, in nats."""
    best = [
        model(model.ids([model.tokenize(prompt).ids]), last=1)[0, -1].topk(2).values
        for prompt in prompts
    ]
    return [float(one - two) for one, two in best]


def patch_for(model: Model, path: Path | None) -> Patch:
    return load_patch(path) if path else edit(model, FACT)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="gemma3-270m", help="a GGUF source")
    parser.add_argument("--patch", type=Path, help="a patch of it; by default one is made")
    parser.add_argument("--as", dest="stored_as", default="Q8_0", help="type of edited tensors")
    given = parser.parse_args(words)
    source, model = whole_gguf(given.model), open_model(given.model)
    patch = patch_for(model, given.patch)
    prompts = [*(fact.text for fact in patch.facts), *NEIGHBOURS]
    own, sure = {"base": complete(model, prompts, TOKENS)}, {"base": margins(model, prompts)}
    with patch.applied(model):
        own["edited file"] = own["adapter"] = complete(model, prompts, TOKENS)
        sure["edited file"] = sure["adapter"] = margins(model, prompts)
    with tempfile.TemporaryDirectory() as folder:
        edited, adapter, back = (
            Path(folder) / name for name in ("edited.gguf", "adapter.gguf", "back.gguf")
        )
        apply_to_gguf(patch, model, source, edited, stored_as=given.stored_as)
        export_gguf_lora(patch, model, adapter)
        revert_gguf(patch, edited, back)
        same = back.read_bytes() == source.read_bytes()
        columns = {
            "base": said(source, prompts),
            "edited file": said(edited, prompts),
            "adapter": said(source, prompts, adapter),
        }
    failed = [] if same else ["revert does not give the base"]
    for i, prompt in enumerate(prompts):
        answers = {name: column[i] for name, column in columns.items()}
        fact = patch.facts[i] if i < len(patch.facts) else None
        for name, answer in answers.items():
            wanted = (
                first(own[name][i])
                if fact is None
                else (fact.answer if name == "base" else fact.new_answer or "")
            )
            if not answer.startswith(wanted) and (fact is not None or sure[name][i] > MARGIN):
                failed.append(f"{name}: {prompt} → {answer!r}, expected {wanted!r}")
        if fact is None and first(own["base"][i]) != first(own["adapter"][i]):
            print(f"{prompt:36} moved by the edit itself, in Loci too")
        print(
            f"{prompt:36} " + "   ".join(f"{name}: {answer!r}" for name, answer in answers.items())
        )
    print(
        "\n".join(failed)
        or f"llama.cpp says what Loci wrote ({given.stored_as}); reverted bit for bit"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
