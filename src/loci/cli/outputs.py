"""Where a patch may be written."""

from pathlib import Path

OTHERS = {".csv", ".gguf", ".html", ".json", ".jsonl", ".parquet", ".pdf", ".png", ".svg", ".txt"}
"""Endings that say that a file is no patch."""


def check_patch(path: Path) -> None:
    """Refuse before the work a place for a patch that cannot be written, or that is named as
    something else.
    """
    from loci.errors import OutputError
    from loci.files import check_writable

    if path.suffix.lower() in OTHERS:
        raise OutputError(f"{path}: a patch is written as .safetensors; let the name end so")
    check_writable(path)
