"""Nine lessons that run: what a fact in a model is, where it is, how to change it, how to tell.

A lesson is a plain Python file in `notebooks/`, in marimo's form. `loci lessons 1` runs it in the
terminal, `--open` in the browser (marimo, the extra `lessons`), `--out` writes it as a page.
"""

from loci.lessons.catalogue import LESSONS, Lesson, lesson
from loci.lessons.exercises import Exercise, exercise
from loci.lessons.running import Choice, Ran, Text, run, size

__all__ = [
    "LESSONS",
    "Choice",
    "Exercise",
    "Lesson",
    "Ran",
    "Text",
    "exercise",
    "lesson",
    "run",
    "size",
]
