"""Pages that are written from tables are as the tables are."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_models_and_points() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), "run python scripts/make_docs.py"
