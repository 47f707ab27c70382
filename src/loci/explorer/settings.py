"""How an explorer is set up: which model, opened how, where it listens, where it keeps patches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PORT = 8321
PORTS_TRIED = 20
QUEUED = 16
"""Jobs that wait for a lane before the next one hears that it is busy."""


@dataclass(frozen=True)
class Settings:
    """Settings of the server and its workers."""

    model: str = "demo"
    opening: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `open_model`, as JSON can say them; `layout` is the path of a layout
    file.
    """
    port: int = PORT
    """The first port that is tried; 0: any that is free."""
    keep: Path | None = None
    """Where patches are kept; None: a temporary folder that goes when the explorer stops."""
    framed: bool = False
    """Whether pages of this machine may show the explorer in a frame, as notebooks do."""
    queued: int = QUEUED
