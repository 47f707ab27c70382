"""A fuzzer of the command line: each command's own options, valid, at the border and nonsense, and
files that are damaged.

A case is run in the test's own process through the real `main`. It has to end with a status that is
promised, with one line on stderr where that is 2, without a traceback, without a raw control
character, and with nothing written where it is 2.
"""

import contextlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.cli.test_options import COMMANDS, kind_of

from loci.cli import terminal
from loci.cli.app import main

PROMPT = "Michael Jordan plays the sport of"
SECONDS = 10.0
"""How long a case may take; what takes longer is stopped as by Ctrl-C."""

QUICK: dict[tuple[str, ...], list[str]] = {
    ("facts",): ["Jordan"],
    ("lens",): [PROMPT],
    ("census",): [],
    ("concepts",): ["Michael Jordan", "-c", "Michael"],
    ("read",): ["L1N37", "--tokens", "100"],
    ("memories",): ["--prompt", PROMPT],
    ("sparsity",): ["--tokens", "100"],
    ("recall",): ["--facts", "one.csv"],
    ("trace",): [PROMPT, "--samples", "1"],
    ("routes",): [PROMPT],
    ("patch", "show"): ["good.safetensors"],
    ("patch", "diff"): ["good.safetensors", "other.safetensors"],
    ("patch", "merge"): ["good.safetensors", "other.safetensors", "-o", "m.safetensors"],
    ("patch", "compress"): ["good.safetensors", "-r", "1", "-o", "c.safetensors"],
    ("patch", "export"): ["good.safetensors", "-f", "peft", "-o", "adapter"],
    ("atlas", "find"): ["atlas", "the"],
    ("atlas", "summary"): ["atlas"],
    ("atlas", "show"): ["atlas", "L1N3"],
    ("atlas", "query"): ["atlas", "SELECT layer, word FROM values LIMIT 2"],
    ("superposition", "bounds"): [],
    ("superposition", "pack"): ["-d", "8", "-n", "9", "--steps", "2"],
    ("superposition", "video"): ["-n", "20", "-d", "4"],
    ("superposition", "toy"): ["-n", "4", "-d", "2", "--steps", "2", "--density", "0.5"],
    ("superposition", "geometry"): ["-n", "4", "-d", "2", "--steps", "2", "--density", "0.5"],
    ("superposition", "phase"): ["--size", "2", "--runs", "1", "--steps", "2"],
    ("superposition", "correlated"): ["--runs", "1", "--steps", "2"],
    ("superposition", "computation"): [
        "-n",
        "4",
        "--neurons",
        "3",
        "--steps",
        "2",
        "--density",
        "0.5",
    ],
    ("superposition", "attack"): ["-n", "4", "-d", "2", "--steps", "2", "--density", "0.5"],
    ("superposition", "interference"): [
        "-d",
        "8",
        "-m",
        "12",
        "-k",
        "1",
        "-k",
        "2",
        "--trials",
        "3",
        "--steps",
        "2",
    ],
    ("write", "gate"): [],
    ("write", "store"): ["-n", "8", "-d", "8", "--facts", "8", "--method", "random-relu"],
    ("write", "capacity"): ["-d", "8", "--facts", "4", "--method", "random-relu"],
    ("write", "planted"): ["--subjects", "4"],
    ("circuits", "tokens"): ["L0H1"],
    ("circuits", "attention"): [PROMPT],
    ("circuits", "heads"): ["--samples", "1", "--length", "4"],
    ("circuits", "paths"): [PROMPT],
    ("circuits", "train"): ["-o", "trained", "--steps", "2", "--batch", "2", "--context", "16"],
}
"""Commands that are done in a moment, and the words with which they are."""
REFUSED = [path for path in COMMANDS if path not in QUICK]
"""Commands that take longer: at least one of their options is nonsense."""
ON_MODELS = [
    ("census", "-m", "./model"), ("lens", PROMPT, "-m", "./model"),
    ("recall", "--facts", "one.csv", "-m", "./model"),
    ("read", "L1N3", "--tokens", "50", "-m", "./model"), ("patch", "show", "good.safetensors"),
    ("patch", "apply", "good.safetensors", "-o", "applied"), ("facts", "one.csv"),
    ("facts", "one.jsonl"), ("facts", "lre.json"),
    ("lens", PROMPT, "--layout", "layout.json"), ("sparsity", "--text", "text.txt"),
    ("atlas", "summary", "atlas"), ("atlas", "find", "atlas", "the"),
    ("atlas", "show", "atlas", "L1N3"), ("audit", "--patch", "good.safetensors", "--no-controls",
        "--neighbours", "0", "-m", "./model"),
    ("edit", "--facts", "one.csv", "--method", "memit", "-o", "e.safetensors", "-m", "./model"),
    ("superposition", "weights", "--directions", "good.safetensors"),
    ("write", "store", "-n", "4", "--table", "good.safetensors"),
    ("patch", "diff", "good.safetensors", "other.safetensors"),
]  # fmt: skip
"""Words that read files, each of which may be damaged."""
DAMAGED = [
    "good.safetensors", "one.csv", "one.jsonl", "lre.json", "layout.json", "text.txt",
    "model/config.json", "model/tokenizer.json",
    "model/model.safetensors", "model/tokenizer_config.json", "atlas/provenance.json",
    "atlas/neurons.parquet", "atlas/values.parquet",
]  # fmt: skip

TEXTS = (
    "", " ", "\0", "\udcff", "[/]", "[bold]", "p[v2]", "\x1b[31m",
        '<a href="https://example.org">x</a>', "{}", "{}{}", "é" * 300, "a b " * 600, "中国",
        "\u202e",
    "-", "nan", "%s", "'", "L0H0", "L99N99", "L0N0", "resid_post.1", "resid_post.99", "#0", "#-1",
    "1:0", "0:1", "nan:1", "Michael Jordan", "Osaka", PROMPT, "Jordan,Bird", "athlete_sport",
    "SELECT 0.3", "SELECT DATE '2024-01-01', [1.5], NULL", "SELECT", "DROP VIEW neurons", "0,7",
    "5:2", "mlp", "embed", "1", "\n",
)  # fmt: skip
PLACES = (
    "", ".", "gone", "gone/x.json", "folder", "full", "loop", "one.csv", "one.jsonl", "lre.json",
    "text.txt", "good.safetensors", "layout.json", "model", "atlas",
    "x" * 300, "o.html", "o.json", "o.parquet", "o.xyz", "p[v2].json", "[/].html", "\x1b.json",
    "one.csv/x.json", "new", "o.safetensors", "o.csv", "\udcff.json", "o.jsonl", "loop/x.json",
)  # fmt: skip
NUMBERS = (
    "-1",
    "0",
    "1",
    "2",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1.5",
    "x",
    "",
    " ",
    "-0",
    "9" * 5000,
    str(2**64),
    str(10**30),
    str(2**63),
    "٣",
    "1_0",
    "0x10",
)
CHOICES = ("", "nonsense", "NOISE", "[/]", "\udcff")


@dataclass(frozen=True)
class Case:
    """What is run, and what is done to a file before."""

    words: tuple[str, ...]
    damage: tuple[str, str, int] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    status: int
    out: str
    err: str
    wrote: tuple[str, ...]
    slow: bool


def values(parameter: Any, nonsense: bool) -> st.SearchStrategy[str]:
    """Values of an option; `nonsense`: such as are refused, whatever else is said."""
    kind = kind_of(parameter)
    if kind in (int, float):
        border = [parameter.min, parameter.max] if parameter.name == "seed" else [parameter.min]
        beyond = [str(kind(parameter.min) - 1), str(kind(parameter.max) * 10 + 1), "nan", "x"]
        return (
            st.sampled_from(beyond)
            if nonsense
            else st.sampled_from([*map(str, border), str(kind(parameter.min) + 1), *NUMBERS])
        )
    if parameter.type_descriptor.is_choice:
        known = [getattr(choice, "value", choice) for choice in parameter.type_descriptor.choices]
        return (
            st.sampled_from(["", "nonsense"]) if nonsense else st.sampled_from([*known, *CHOICES])
        )
    if kind is Path:
        return st.just("x" * 300) if nonsense else st.sampled_from(PLACES)
    if parameter.name in ("model", "base", "edited", "config"):
        return (
            st.just("x" * 300)
            if nonsense
            else st.sampled_from(
                (
                    "demo",
                    "./model",
                    "./gone",
                    "./folder",
                    "./loop",
                    "one.csv",
                    "gpt2",
                    "t5",
                    "",
                    "\udcff",
                )
            )
        )
    return st.just("half \udcff") if nonsense else st.sampled_from(TEXTS)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One of three kinds: a quick command with some options, a long one with nonsense, a reader of
    damaged files.
    """
    which = draw(st.integers(0, 9))
    if which >= 6:
        words = draw(st.sampled_from(ON_MODELS))
        named = [
            file
            for file in DAMAGED
            if any(file.split("/")[0] == word.removeprefix("./") for word in words)
        ]
        file = draw(st.sampled_from(named or DAMAGED))
        usual = {"json": ["values"], "safetensors": ["header"]}.get(file.rpartition(".")[2], [])
        return Case(
            words,
            (
                file,
                draw(st.sampled_from(usual * 15 + sorted(DAMAGES))),
                draw(st.integers(0, 2**16)),
            ),
        )
    path = draw(st.sampled_from(sorted(QUICK) if which >= 2 else REFUSED))
    words = [*path, *QUICK.get(path, [])]
    options = [
        parameter
        for parameter in COMMANDS[path].params
        if parameter.opts[0].startswith("-") and parameter.name != "help"
    ]
    arguments = [
        parameter for parameter in COMMANDS[path].params if not parameter.opts[0].startswith("-")
    ]
    if path in QUICK and arguments and draw(st.integers(0, 3)) == 0:
        at = len(path)
        words[at : at + 1] = [draw(values(arguments[0], False))]
    for parameter in draw(st.lists(st.sampled_from(options), max_size=3, unique=True)):
        if parameter.is_flag:
            words.append(draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts])))
        else:
            words += [parameter.opts[0], draw(values(parameter, False))]
    if path in REFUSED:
        valued = [parameter for parameter in options if not parameter.is_flag]
        bad = draw(st.sampled_from(valued or options))
        words += ["--nonsense"] if bad.is_flag else [bad.opts[0], draw(values(bad, True))]
    return Case(tuple(words))


def _json_values(data: bytes, pick: int) -> bytes:
    """One value of a JSON document in the place of which something else stands, or whose key is
    gone.
    """
    other: list[Any] = [None, -1, 0, 10**30, 1.5, "x", "[/]\x1b", [], {}, True, [[[]]], "\ud800"]
    try:
        document = json.loads(data)
    except ValueError:
        return b"null"
    spots: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(min(len(node), 20)):
            spots.append((node, key))
            if isinstance(node[key], (dict, list)):
                collect(node[key])

    if isinstance(document, (dict, list)):
        collect(document)
    if not spots:
        return json.dumps(other[pick % len(other)]).encode()
    node, key = spots[pick % min(len(spots), 400)]
    if pick % 7 == 0 and isinstance(node, dict):
        del node[key]
    else:
        node[key] = other[pick % len(other)]
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _header(data: bytes, pick: int) -> bytes:
    """A file of safetensors with another header of its own length: types, shapes, offsets or what
    Loci says in it.
    """
    size = int.from_bytes(data[:8], "little")
    if pick % 3 == 0 and b"loci" in data[:size]:
        header = json.loads(data[8 : 8 + size])
        for key, value in header.get("__metadata__", {}).items():
            if value.startswith(("{", "[")):
                header["__metadata__"][key] = _json_values(value.encode(), pick // 3).decode(
                    "utf-8", "replace"
                )
        changed = json.dumps(header).encode()
    else:
        changed = _json_values(data[8 : 8 + size], pick)
    return len(changed).to_bytes(8, "little") + changed + data[8 + size :]


DAMAGES: dict[str, Any] = {
    "cut": lambda data, pick: data[: pick % max(1, len(data))],
    "flip": lambda data, pick: (
        data[: (at := pick * 31 % max(1, len(data)))] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
        if data
        else b""
    ),
    "empty": lambda data, pick: b"",
    "noise": lambda data, pick: bytes(pick * i % 251 for i in range(200)),
    "values": _json_values,
    "header": _header,
    "nested": lambda data, pick: b"[" * 100_000,
    "latin": lambda data, pick: data + b"\n\xe9\xff",
    "quote": lambda data, pick: data + b'\n"never closed,',
    "long": lambda data, pick: data + b"\n" + b"x" * 200_000,
    "digits": lambda data, pick: data.replace(b"1", b"9" * 5000, 1),
    "zeros": lambda data, pick: data + bytes(1000),
    "folder": None,
    "loop": None,
    "gone": None,
}
"""What happens to a file."""


def damage(path: Path, how: str, pick: int) -> None:
    """Damage a file."""
    change = DAMAGES[how]
    data = path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(data, pick))
    elif how == "folder":
        path.mkdir()
    elif how == "loop":
        path.symlink_to(path.name)


def run(case: Case, good: Path) -> Outcome:
    """Run a case in a folder of its own, a copy of `good`."""
    with tempfile.TemporaryDirectory() as place:
        room = Path(place, "room")
        shutil.copytree(good, room, symlinks=True)
        if case.damage is not None:
            damage(room / case.damage[0], *case.damage[1:])
        before = snapshot(room)
        status, out, err, slow = called(case.words, room)
        after = snapshot(room)
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        return Outcome(status, out, err, tuple(sorted(changed)), slow)


def snapshot(room: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder, how large, and from when."""
    found = {}
    for path in room.rglob("*"):
        state = path.lstat()
        found[str(path.relative_to(room))] = (
            state.st_size if not path.is_dir() else 0,
            0 if path.is_dir() else state.st_mtime_ns,
        )
    return found


def called(words: tuple[str, ...], room: Path) -> tuple[int, str, str, bool]:
    """The status, stdout and stderr of a call, and whether it was stopped for its time."""
    streams = [
        io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2)
    ]
    there, argv = Path.cwd(), sys.argv
    status: Any = 0
    with (
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        guard() as slow,
    ):
        os.chdir(room)
        sys.argv = ["loci", *words]
        try:
            terminal.prepare()
            main()
        except SystemExit as ended:
            status = ended.code
        except KeyboardInterrupt:
            status = 130
        finally:
            os.chdir(there)
            sys.argv = argv
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    return int(status or 0), out, err, bool(slow)


@contextlib.contextmanager
def guard() -> Iterator[list[bool]]:
    """Stop what takes too long, as Ctrl-C would."""
    slow: list[bool] = []

    def over(*_: object) -> None:
        slow.append(True)
        os.kill(os.getpid(), signal.SIGINT)

    usual = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 5.0)
    try:
        yield slow
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


def fault_of(case: Case, found: Outcome) -> str | None:
    """What is wrong with how a case ended, or nothing."""
    command = case.words[0]
    allowed = (
        {0, 2}
        | ({1} if command == "doctor" else set())
        | ({3} if command == "edit" else set())
        | ({130} if found.slow else set())
    )
    if found.status not in allowed:
        return f"status {found.status}"
    if "Traceback" in found.err or "Traceback" in found.out:
        return "traceback"
    if any(char in found.out + found.err for char in ("\x1b", "\x07", "\x9b")):
        return "raw control character"
    if found.status == 2:
        lines = found.err.splitlines()
        if (
            not lines
            or not lines[-1].startswith("loci: ")
            or len([line for line in lines if line.startswith("loci: ")]) != 1
        ):
            return f"{len(lines)} lines on stderr"
        if len(lines) != 1 and not all(" s)" in line for line in lines[:-1]):
            return f"{len(lines)} lines on stderr: {lines[0][:80]}"
        if found.out:
            return "stdout with status 2"
        if found.wrote:
            return f"wrote {', '.join(found.wrote)}"
    if found.status == 0 and "--json" in case.words and "--help" not in case.words:
        try:
            json.loads(found.out)
        except ValueError:
            return "no JSON"
    return None
