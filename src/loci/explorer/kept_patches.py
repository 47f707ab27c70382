"""The patches of a run: files that a worker wrote whole, listed and handed out. No model is opened
here.
"""

import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from loci.errors import PatchError

NAME = re.compile(r"([0-9a-f]{12})\.safetensors")
HANDED = re.compile(r"[0-9a-f]{12}\.(safetensors|peft\.zip)")


class KeptPatches:
    """The folder in which workers keep patches."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._headers: dict[str, dict[str, Any]] = {}

    def listed(self) -> list[dict[str, Any]]:
        """A description of each patch, the oldest first; broken files of others are left out."""
        files = [path for path in self.folder.glob("*.safetensors") if NAME.fullmatch(path.name)]
        told = [(path.stat().st_mtime_ns, self._told(path)) for path in files]
        return [about for _, about in sorted(told, key=lambda pair: pair[0]) if about]

    def file(self, name: str) -> tuple[bytes, str]:
        """A patch's bytes and their type. Raises `PatchError` where there is none of that name."""
        path = self.folder / name
        if not HANDED.fullmatch(name) or not path.is_file():
            raise PatchError(f"there is no patch {name[:40]!r} here")
        return path.read_bytes(), "application/octet-stream"

    def _told(self, path: Path) -> dict[str, Any]:
        name = path.name.removesuffix(".safetensors")
        if name not in self._headers:
            try:
                with safe_open(path, framework="np") as file:
                    header = json.loads((file.metadata() or {})["loci"])
            except (OSError, SafetensorError, KeyError, ValueError):
                return {}
            numbers = header.get("numbers", {})
            self._headers[name] = {
                "id": name,
                "method": header.get("method"),
                "base": header.get("base"),
                "facts": header.get("facts", []),
                "neuron": numbers.get("neuron"),
                "factor": numbers.get("factor"),
                "report": numbers.get("report"),
                "parents": [parent.get("id") for parent in numbers.get("parents", [])],
            }
        return self._headers[name]
