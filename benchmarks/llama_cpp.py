"""Loci against llama.cpp: the same GGUF file, two implementations of reading, dequantising,
tokenising and running it.

    python -m benchmarks.llama_cpp [MODEL …]  gemma3-270m and smollm2-135m by default, or GGUF
                                              files; needs xllamacpp

For each prompt llama.cpp goes on greedily by `TOKENS` tokens and names its ten likeliest at every
step; Loci reads the same tokens in one run. llama.cpp rounds activations to eight bits where
weights are quantised, so that numbers differ a little: what is demanded is that the token each
calls likeliest is the same one wherever Loci's two best differ by more than `MARGIN`, and that
log-probabilities differ by less than `MEDIAN` in the median. Status 1 where that fails.
"""

import statistics
import sys
from typing import Any, NamedTuple

import torch

from loci.facts import controls, known_facts
from loci.model import Model, open_model
from loci.model.gguf import whole_gguf

PROMPTS, TOKENS, LIKELIEST = 60, 8, 10
MARGIN, MEDIAN = 0.5, 0.1
LEAST = -5.0
"""Log-probabilities below this are not compared: nobody reads them, and rounding moves them most.
"""


class Step(NamedTuple):
    """What llama.cpp says at one position."""

    token: int
    logprobs: dict[int, float]


def prompts() -> list[str]:
    """Facts' prompts, and beginnings of plain sentences, a third of them."""
    asked = [fact.text for fact in known_facts().sample(PROMPTS * 2 // 3, seed=0)]
    begun = [" ".join(text.split()[:6]) for text in controls() if len(text.split()) > 8]
    return asked + begun[: PROMPTS - len(asked)]


def started(path: str) -> Any:
    """llama.cpp with the file open."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers = path, 512, 0
    params.cpuparams.n_threads = torch.get_num_threads()
    return xllamacpp.Server(params)


def theirs(server: Any, prompt: str) -> list[Step]:
    """The greedy continuation, with the likeliest tokens at each step."""
    asked = {
        "prompt": prompt,
        "max_tokens": TOKENS,
        "temperature": 0,
        "logprobs": LIKELIEST,
        "cache_prompt": False,
    }
    content = server.handle_completions(asked)["choices"][0]["logprobs"]["content"]
    return [
        Step(step["id"], {one["id"]: one["logprob"] for one in step["top_logprobs"]})
        for step in content
    ]


@torch.no_grad()
def compared(model: Model, prompt: str, steps: list[Step]) -> list[tuple[bool, float, list[float]]]:
    """For each step whether the likeliest token is the same, by how much Loci prefers its own, and
    differences of log-probabilities.
    """
    ids = model.tokenize(prompt).ids
    run = model.ids([[*ids, *(step.token for step in steps[:-1])]])
    logprobs = model(run)[0, len(ids) - 1 :].float().log_softmax(-1)
    found = []
    for row, step in zip(logprobs, steps, strict=True):
        margin = float(row.max() - row[step.token])
        off = [
            abs(float(row[token]) - logprob)
            for token, logprob in step.logprobs.items()
            if logprob > LEAST
        ]
        found.append((margin == 0, margin, off))
    return found


def check(name: str) -> bool:
    """One model: a line of numbers, and whether they are as demanded."""
    model, server = open_model(name), started(str(whole_gguf(name)))
    rows = [(prompt, compared(model, prompt, theirs(server, prompt))) for prompt in prompts()]
    steps = [step for _, own in rows for step in own]
    same, whole = (
        sum(step[0] for step in steps),
        sum(all(step[0] for step in own) for _, own in rows),
    )
    off = [value for _, _, values in steps for value in values]
    margin = max(step[1] for step in steps)
    print(
        f"{name}: {whole} of {len(rows)} continuations of {TOKENS} tokens are the same, {same} of"
        f" {len(steps)} likeliest tokens;"
    )
    print(
        f"    where they differ Loci's two best are at most {margin:.3f} apart (allowed {MARGIN});"
    )
    print(
        f"    log-probabilities off by {statistics.median(off):.4f} in the median (allowed"
        f" {MEDIAN}), {sorted(off)[int(0.95 * len(off))]:.3f} at 95 %, {max(off):.3f} at most"
    )
    return margin < MARGIN and statistics.median(off) < MEDIAN


if __name__ == "__main__":
    sys.exit(not all(list(map(check, sys.argv[1:] or ("gemma3-270m", "smollm2-135m")))))
