"""The same question on the command line and in Python, ready to be pasted."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any

from loci.explorer import arguments as takes
from loci.explorer.settings import Settings

FLAGS = {
    "device": "--device",
    "dtype": "--dtype",
    "device_map": "--device-map",
    "join": "--join",
    "layout": "--layout",
}
SWITCHES = {"pickle": "--pickle", "trust_remote_code": "--trust-remote-code"}
DEFAULTS = {"device": "cpu", "dtype": "float32", "pickle": False, "trust_remote_code": False}


def opened_as(settings: Settings) -> dict[str, Any]:
    """Arguments of the opening that are no defaults."""
    return {
        name: value
        for name, value in settings.opening.items()
        if value is not None and value != DEFAULTS.get(name)
    }


def _opening(settings: Settings) -> list[str]:
    """The options with which a command opens the same model."""
    how = opened_as(settings)
    said = ["-m", settings.model] if settings.model != "demo" else []
    for name, flag in FLAGS.items():
        if name in how:
            said += [flag, how[name] if isinstance(how[name], str) else "disk"]
    said += [flag for name, flag in SWITCHES.items() if how.get(name)]
    return said + (["--bos" if how["bos"] else "--no-bos"] if "bos" in how else [])


def _options(args: Any, defaults: type[takes.Arguments], **flags: str) -> list[str]:
    """Options that differ from the defaults."""
    said: list[str] = []
    for name, flag in flags.items():
        value = getattr(args, name)
        if value != defaults.model_fields[name].default and value is not None:
            said += [flag] if value is True else [flag, str(value)]
    return said


def _trace(args: takes.TraceArguments) -> list[str]:
    names = {
        "subject": "--subject",
        "answer": "--answer",
        "samples": "--samples",
        "noise": "--noise",
    }
    names |= {
        "corruption": "--corruption",
        "window": "--window",
        "severed": "--severed",
        "seed": "--seed",
    }
    return ["trace", args.prompt, *_options(args, takes.TraceArguments, **names)]


def _cell(args: takes.CellArguments) -> list[str]:
    names = {
        "subject": "--subject",
        "answer": "--answer",
        "noise": "--noise",
        "corruption": "--corruption",
        "seed": "--seed",
    }
    place = [
        "--neurons",
        str(args.layer),
        "--token",
        str(args.token),
        "--samples",
        str(args.samples),
    ]
    return ["trace", args.prompt, *place, *_options(args, takes.CellArguments, **names)]


def _lens(args: takes.LadderArguments) -> list[str]:
    return [
        "lens",
        args.prompt,
        *_options(
            args,
            takes.LadderArguments,
            subject="--subject",
            answer="--answer",
            against="--against",
            top="--top",
        ),
    ]


def _read(args: takes.Card) -> list[str]:
    return [
        "read",
        args.neuron,
        "--tokens",
        str(args.tokens),
        *_options(args, takes.Card, top="--top"),
    ]


def _edit(args: takes.Edited) -> list[str]:
    fact = ["--subject", args.subject or "", "--prompt", args.prompt, "--answer", args.answer]
    return [
        "edit",
        *fact,
        *_options(args, takes.Edited, method="--method", seed="--seed"),
        "--out",
        "patch.safetensors",
    ]


def _audit(args: takes.OfPatch) -> list[str]:
    return [
        "audit",
        "--patch",
        f"{args.patch}.safetensors",
        *_options(args, takes.OfPatch, seed="--seed"),
    ]


def _attention(args: takes.PatternArguments) -> list[str]:
    return [
        "circuits",
        "attention",
        args.text,
        *(word for head in args.heads for word in ("--head", head)),
    ]


def _merge(args: takes.Merged) -> list[str]:
    keep = ["--keep", args.keep] if args.keep else []
    return [
        "patch",
        "merge",
        *(f"{one}.safetensors" for one in args.patches),
        *keep,
        "--out",
        "merged.safetensors",
    ]


COMMANDS: dict[str, Callable[[Any], list[str]]] = {
    "ask": lambda args: ["ask", args.prompt, "--tokens", str(args.tokens), "--top", str(args.top)],
    "lens": _lens,
    "trace": _trace,
    "trace_neurons": _cell,
    "read": _read,
    "edit": _edit,
    "audit": _audit,
    "merge": _merge,
    "attention": _attention,
    "heads": lambda args: ["circuits", "heads"],
    "fact_circuit": lambda args: [
        "circuits",
        "fact",
        args.prompt,
        *_options(args, takes.PromptArguments, subject="--subject", answer="--answer"),
    ],
    "compose": lambda args: ["circuits", "compose"],
    "feature": lambda args: [
        "dictionaries",
        "read",
        f"demo:mlp_out.{args.layer}",
        str(args.feature),
        "--tokens",
        str(args.tokens),
        *_options(args, takes.FeatureArguments, top="--top"),
    ],
    "graph": lambda args: [
        "dictionaries",
        "graph",
        args.prompt,
        *(["--transcoder", "demo:mlp_out.1"] if args.features else []),
        *_options(args, takes.GraphArguments, answer="--answer", tested="--tested"),
    ],
    "toy": lambda args: [
        "superposition",
        "toy",
        "--features",
        str(args.features),
        "--dim",
        str(args.dims),
        "--density",
        str(args.density),
        "--importance",
        str(args.importance),
        "--steps",
        str(args.steps),
        "--seed",
        str(args.seed),
        *([] if args.relu else ["--linear"]),
    ],
    "bounds": lambda args: [
        "superposition",
        "bounds",
        "--dim",
        str(args.dim),
        "--angle",
        str(args.angle),
    ],
    "card": lambda args: ["read", args.neuron, "--weights-only", "--top", str(args.top)],
    "forensics": lambda args: [
        "forensics",
        args.base,
        *([args.edited] if args.edited else []),
        *_options(args, takes.Folders, seed="--seed"),
    ],
    "atlas": lambda args: ["atlas", "build", "--tokens", str(args.tokens), "--out", "atlas"],
    "find": lambda args: ["atlas", "find", "atlas", args.word, "--top", str(args.top)],
    "sql": lambda args: ["atlas", "query", "atlas", args.sql],
    "adapter": lambda args: [
        "patch",
        "export",
        f"{args.patch}.safetensors",
        "--format",
        "peft",
        "--out",
        f"{args.patch}.peft",
    ],
}
MODELLESS = ("forensics", "find", "sql", "bounds", "toy")
"""Commands that open no model by `-m`."""
WITHOUT = (*MODELLESS, "merge", "edit", "audit", "adapter", "atlas", "planted")
"""Verbs that are about the base, whatever is on."""


def command(verb: str, args: Any, patches: Sequence[str], settings: Settings) -> str | None:
    """The command that gives the same; None where there is none, as with patches on a verb that
    takes none.
    """
    if verb not in COMMANDS or (
        patches and verb not in WITHOUT and (verb != "ask" or len(patches) > 1)
    ):
        return None
    said = ["loci", *COMMANDS[verb](args)]
    if verb == "ask" and patches:
        said += ["--patch", f"{patches[0]}.safetensors"]
    if verb not in MODELLESS:
        said += _opening(settings)
    if verb == "merge" and settings.model == "demo":  # which opens a model only where one is said
        said += ["-m", "demo"]
    return shlex.join(said)


def asked_fact(args: takes.PromptArguments) -> str:
    """A fact in Python."""
    if args.subject is not None and args.answer is not None:
        return f"loci.Fact.from_text({args.prompt!r}, {args.subject!r}, {args.answer!r})"
    if args.subject is not None or args.answer is not None:
        return (
            f"loci.model.fact_from(model, {args.prompt!r}, {args.subject!r},"
            f" answer={args.answer!r})"
        )
    return repr(args.prompt)
