"""Stage the docs for the site: pages of docs/, what they link to outside of it, lessons as pages.

    python scripts/make_site.py              → build/site-pages, which zensical builds (`make docs-site`)
    python scripts/make_site.py --quick      lessons at their smaller size
    python scripts/make_site.py --lessons    write docs/lessons.md, the list of the lessons

A lesson is run again only where its file has changed since the last time. plotly.js lies beside
the lessons once, so that no page asks another host.
"""

import argparse
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "site-pages"
KEPT = ROOT / "build" / "lessons"
REPOSITORY = "files"
"""Folder of the site for linked files that are no pages."""
LESSONS = """<!-- Written by scripts/make_site.py --lessons from the lessons; do not edit, run it again. -->

# Lessons

{count} lessons that run. Each has one idea a step, settings to change, pictures that answer, and exercises with a check and a hidden solution.
They need no GPU, no download and no key. The first goes on to Gemma 3 270M where that is installed (`pip install 'loci-lm[gemma]'`).

```sh
loci lessons
loci lessons 3                                       # 15 s
loci lessons 3 --set dim=20 --out lesson.html        # 15 s: another value, written as a page
loci lessons 6 --copy my_lesson.py
```

`--open` opens a copy in the browser, where settings are sliders (`pip install 'loci-lm[lessons]'`).
marimo serves it on this machine. Its pictures ask cdn.jsdelivr.net once for MathJax, which the lessons do not use: without a network nothing is missing. Pages of `--out` ask no host.
To answer the exercises, write into a copy and run that: `loci lessons my_lesson.py`.

| | lesson | what it is about | seconds |
|---|---|---|---|
{rows}

Seconds are of one core, as `loci lessons N` takes them with its opening of the model, at the full sizes. Gemma in lesson 1 is not counted.
Files: `src/loci/lessons/notebooks/`, one plain Python file each.
"""
SECONDS = {1: 14, 2: 19, 3: 6, 4: 26, 5: 9, 6: 18, 7: 83, 8: 31, 9: 15}
"""Measured, each lesson alone: processor time of `loci lessons N`."""


def lessons_page() -> str:
    """docs/lessons.md: the list."""
    from loci.lessons import LESSONS as ALL

    rows = "\n".join(f"| {e.number} | {e.title} | {e.summary} | {SECONDS[e.number]} |" for e in ALL)
    numbers = {9: "Nine"}
    return LESSONS.format(count=numbers.get(len(ALL), str(len(ALL))), rows=rows)


def stage(quick: bool) -> None:
    """Everything that zensical reads, in a fresh folder."""
    if PAGES.exists():
        shutil.rmtree(PAGES)
    shutil.copytree(DOCS, PAGES)
    for page in sorted(PAGES.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        source = DOCS / page.relative_to(PAGES)
        page.write_text(staged(text, source), encoding="utf-8")
    _lessons(quick)


def staged(text: str, source: Path) -> str:
    """A page as the site shows it: outputs as plain blocks, links out of docs/ to copies."""
    text = re.sub(r"^```output.*$", "```text", text, flags=re.M)
    if source == DOCS / "lessons.md":
        text = re.sub(
            r"^\| (\d+) \| ([^|]+) \|", r"| \1 | [\2](lessons/\1.html) |", text, flags=re.M
        )

    def link(match: re.Match[str]) -> str:
        path, mark, heading = match[1].partition("#")
        if not path or ":" in path:
            return match[0]
        target = (source.parent / path).resolve()
        if target.is_relative_to(DOCS) or not target.exists():
            return match[0]
        inside = target.relative_to(ROOT)
        up = "../" * len(source.parent.relative_to(DOCS).parts)
        if target.is_dir():
            return f"]({up}index.md)"
        copy = PAGES / REPOSITORY / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".md":
            body = target.read_text(encoding="utf-8")
            copy.write_text(re.sub(r"\]\((?!https?:)[^)]*\)", "](#)", body), encoding="utf-8")
        else:
            shutil.copyfile(target, copy)
        return f"]({up}{REPOSITORY}/{inside}{mark}{heading})"

    return re.sub(r"\]\(([^)\s]+)\)", link, text)


def _lessons(quick: bool) -> None:
    """The lessons, run, as pages that share one plotly.js."""
    from plotly.offline import get_plotlyjs

    from loci.lessons import LESSONS as ALL
    from loci.lessons import run
    from loci.lessons.page import page

    if quick:
        os.environ["LOCI_LESSONS_QUICK"] = "1"
    script = get_plotlyjs()
    folder = PAGES / "lessons"
    folder.mkdir()
    (folder / "plotly.min.js").write_text(script, encoding="utf-8")
    KEPT.mkdir(parents=True, exist_ok=True)
    for entry in ALL:
        digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()[:16]
        kept = KEPT / f"{entry.number}-{digest}{'-quick' if quick else ''}.html"
        if not kept.exists():
            print(f"lesson {entry.number}", file=sys.stderr)
            whole = page(run(entry))
            shared = whole.replace(
                f"<script>{script}</script>", '<script src="plotly.min.js"></script>'
            )
            kept.write_text(shared, encoding="utf-8")
        shutil.copyfile(kept, folder / f"{entry.number}.html")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="lessons at their smaller size")
    parser.add_argument("--lessons", action="store_true", help="write docs/lessons.md only")
    given = parser.parse_args()
    if given.lessons:
        (DOCS / "lessons.md").write_text(lessons_page(), encoding="utf-8")
    else:
        stage(given.quick)


if __name__ == "__main__":
    main()
