"""Whatever ends a command: one line, the right status; any stdout, any width,
Ctrl-C at any moment.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import loci
from loci.cli import common, net
from loci.cli.terminal import clean, plain, terminal
from loci.errors import FactError

ESC = "\x1b[31m"


def test_every_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for error, says in (
        (FactError(f"two\nlines {ESC}"), "two\\nlines \\x1b[31m"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a\nb"),
            "a\\nb: No such file or directory",
        ),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/x"), "/x: Too many levels"),
        (MemoryError(), "not enough memory"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (
            torch.linalg.LinAlgError("linalg.eig: did\nnot converge"),
            "no solution here: linalg.eig: did not converge",
        ),
        (ValueError("a\n  b"), "a b (ValueError; LOCI_DEBUG=1 shows the traceback)"),
        (KeyError(), "KeyError (LOCI_DEBUG=1 shows the traceback)"),
    ):
        assert net.told(error) == 2
        err = capsys.readouterr().err
        assert err.startswith("loci: ") and err.count("\n") == 1 and says in err
    assert net.told(KeyboardInterrupt()) == 130 and capsys.readouterr().err == "loci: stopped\n"
    assert net.told(BrokenPipeError()) == 141 and capsys.readouterr().err == ""


def test_an_unexpected_error_says_what_was_being_done(
    loci, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise IndexError("index 7 is out of bounds")

    monkeypatch.setattr("loci.locating.trace", broken)
    words = ("trace", "Michael Jordan plays the sport of")
    status, out, err = loci(*words)
    assert (status, out) == (2, "")
    assert (
        err == "loci: tracing: index 7 is out of bounds (IndexError; LOCI_DEBUG=1 shows the"
        " traceback)\n"
    )
    monkeypatch.setenv("LOCI_DEBUG", "1")
    status, _, err = loci(*words)
    assert (
        status == 2
        and err.startswith("Traceback")
        and err.splitlines()[-1].startswith("loci: tracing")
    )


def test_ctrl_c_is_said_even_where_a_library_says_something_else(
    loci, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lazily(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except BaseException as error:
            raise FactError("cannot open 'demo': Could not import module") from error

    monkeypatch.setattr("loci.locating.trace", lazily)
    assert loci("trace", "Michael Jordan plays the sport of") == (130, "", "loci: stopped\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_characters_and_markup_from_outside_are_shown() -> None:
    assert clean(f"a{ESC}b\tc\nd\x9b\u202e\udc80") == "a\\x1b[31mb\\tc\\nd\\x9b\\u202e\\udc80"
    for name in (
        "[/]",
        "[/nope]",
        "p[v2].safetensors",
        "[bold]x",
        "a\\",
        ":smile:",
        "[link=http://x]y[/link]",
        ESC,
        "中国 é",
    ):
        screen = terminal()
        screen.width = 200
        with screen.capture() as shown:
            screen.print(f"written: [bold]{plain(name)}[/].")
        assert shown.get().strip() == f"written: {clean(name)}."
    with terminal().capture() as shown:
        terminal().print("never escaped [/nope] is printed as it is")


def test_facts_with_names_like_markup(loci, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        f'subject,prompt,answer,relation\nA[b]{ESC},"{{}} is [/x] in",[/],sport[team]\n',
        encoding="utf-8",
    )
    status, out, err = loci("facts", "f.csv", "-o", "p[v2].jsonl")
    assert status == 0 and "\x1b" not in out + err
    assert "sport[team]" in out and "[/x]" in out and err == "written: p[v2].jsonl\n"
    assert loci("facts", "f.csv", "-o", "q.jsonl", "--quiet")[2] == ""


def test_progress_in_a_pipe_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "EVERY", 0.05)
    for quiet, shown in ((False, True), (True, False)):
        monkeypatch.setattr(common, "quiet", quiet)
        with common.bar("reading") as progress:
            progress(3, 10)
            time.sleep(0.3)
        with common.status("opening") as stage:
            stage("half [way]")
            time.sleep(0.3)
        err = capsys.readouterr().err
        assert ("reading: 3 of 10 (" in err and "half [way] (" in err) == shown == bool(err)
        assert ("s, about " in err and " s more)" in err) == shown


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        (("audit", "--edits", "50"), 8),
        (("audit", "--edits", "100", "--at-once"), 12),
        (("audit", "--edits", "100", "--at-once", "--no-controls"), 4),
        (("audit", "--edits", "1000", "--one-after-another", "--each", "100"), 60),
        (("audit", "--edits", "5"), None),
        (("write", "capacity"), 10),
        (("write", "capacity", "--dim", "8", "--facts", "32"), None),
        (("sweep",), 6),
        (("sweep", "--edits", "2"), None),
        (("circuits", "small", "sizes"), 20),
        (("circuits", "small", "bases"), 4),
        (("circuits", "small", "phase", "--steps", "9"), None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_long_work_says_so_before_it_begins(
    loci, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], minutes: int | None
) -> None:
    """As the docs state it, where they state more than three minutes."""

    @contextmanager
    def begins(_: str) -> Iterator[None]:
        raise FactError("begins")
        yield

    for place in ("audit", "write", "sweep", "circuits_train"):
        monkeypatch.setattr(f"loci.cli.{place}.bar", begins)
    status, _, err = loci(*words)
    said = [] if minutes is None else [f"this takes about {minutes} min of one core"]
    *notes, last = err.splitlines()
    assert (status, last) == (2, "loci: begins")
    assert [note.partition(" (")[0] for note in notes] == said


def run(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    places = {
        **os.environ,
        "PYTHONPATH": str(Path(loci.__file__).parents[1]),
        **options.pop("env", {}),
    }  # type: ignore[dict-item]
    return subprocess.run(
        [sys.executable, "-m", "loci", *words],
        encoding="utf-8",
        errors="replace",
        capture_output="stdout" not in options,
        env=places,
        check=False,
        **options,
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_stdout_that_takes_nothing_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        found = run("facts", "Jordan", stdout=full, stderr=subprocess.PIPE)
    assert (
        found.returncode == 2
        and found.stderr.startswith("loci: standard output: No space left on device")
        and found.stderr.count("\n") == 1
    )
    found = subprocess.run(
        f'"{sys.executable}" -m loci facts Jordan >&-', shell=True, text=True, capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(loci.__file__).parents[1])},
    )  # fmt: skip
    assert (
        found.returncode == 2
        and "standard output is closed" in found.stderr
        and found.stderr.count("\n") == 1
    )


def test_a_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    gone = (
        "import os, sys, loci.cli; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone');"
        " sys.argv = ['loci', 'ask', 'x']; loci.cli.main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", gone],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "loci: the folder that you are in is gone: cd to one that is there\n"


def test_a_reader_that_has_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        found = run("facts", stdout=pipe, stderr=subprocess.PIPE)
    assert found.returncode == 141 and found.stderr == ""


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "20"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=str,
)
def test_every_encoding_and_width_shows_something(env: dict[str, str]) -> None:
    found = run("trace", "--help", env=env)
    assert found.returncode == 0 and "noise" in found.stdout and not found.stderr
    found = run("facts", "Michael Jordan", env=env)
    assert found.returncode == 0 and "basketball" in found.stdout and not found.stderr


@pytest.mark.parametrize("wait", [0.15, 0.8])
def test_ctrl_c_during_imports(wait: float) -> None:
    """A signal before Python has begun with Loci is Python's own; after that it is one line."""
    places = {**os.environ, "PYTHONPATH": str(Path(loci.__file__).parents[1])}
    started = (
        "import sys, loci.cli; print('on', flush=True); sys.argv = ['loci', 'recall'];"
        " loci.cli.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", started],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=places,
    )
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "loci: stopped\n")
