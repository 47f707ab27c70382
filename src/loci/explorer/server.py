"""Start, stop, and where it listens: the loopback alone, on the first port that is free."""

import atexit
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from loci.errors import ModelError, OutputError, UseError
from loci.explorer.app import Api
from loci.explorer.guard import Guard
from loci.explorer.jobs import Jobs
from loci.explorer.kept_patches import KeptPatches
from loci.explorer.settings import PORT, PORTS_TRIED, Settings

if TYPE_CHECKING:
    from loci.model import Model

LOOPBACK = "127.0.0.1"


class Explorer:
    """A running explorer: `url` opens it, `stop()` ends it, in a notebook it shows itself."""

    def __init__(self, settings: Settings, fingerprint: str | None = None) -> None:
        self.settings = settings
        self.token = secrets.token_urlsafe(24)
        self.notes: list[str] = []
        """Notes from the start, for example that a port was taken."""
        self._socket = self._listening()
        self.port: int = self._socket.getsockname()[1]
        self._temporary = (
            None if settings.keep is not None else Path(tempfile.mkdtemp(prefix="loci-explorer-"))
        )
        self.folder = settings.keep or self._temporary or Path()
        opening = {name: value for name, value in settings.opening.items() if value is not None}
        setup = {
            "model": settings.model,
            "opening": opening,
            "folder": str(self.folder),
            "fingerprint": fingerprint,
        }
        self.jobs = Jobs(settings, setup)
        guard = Guard(
            Api(self.jobs, KeptPatches(self.folder), self.ask_to_stop).app(),
            self.token,
            framed=settings.framed,
        )
        guard.port = self.port
        self.guard = guard
        config = uvicorn.Config(
            guard,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address with the token of this run: whoever has it may use the model."""
        return f"http://{LOOPBACK}:{self.port}/?t={self.token}"

    def _listening(self) -> socket.socket:
        """A socket on the first free port. Raises `OutputError` where none of those tried is
        free.
        """
        first = self.settings.port
        for port in range(first, min(first + PORTS_TRIED, 65_536)) if first else [0]:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                one.bind((LOOPBACK, port))
            except OSError as error:
                one.close()
                self.notes.append(f"port {port} is taken ({error.strerror})")
                continue
            one.listen(128)
            return one
        raise OutputError(
            f"none of the ports {first} … {first + PORTS_TRIED - 1} is free: say another one"
        )

    def opened(self) -> "Explorer":
        """Wait until a worker has opened the model. Raises `ModelError` where it cannot; the
        embedded one opens while the page stands.
        """
        job = self.jobs.warm()
        if self.settings.model != "demo":
            job.ended.wait()
            if job.error is not None:
                raise ModelError(job.error)
        return self

    def run(self) -> None:
        """Serve until Ctrl-C, or until the page says stop."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.tidy()

    def start(self) -> "Explorer":
        """Serve in the background; returns when it answers."""
        self._thread = threading.Thread(target=self.run, name="loci-explorer", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.02)
        atexit.register(self.stop)
        return self

    def ask_to_stop(self) -> None:
        self._server.should_exit = True

    def stop(self) -> None:
        """End it: server, workers, and the temporary folder."""
        atexit.unregister(self.stop)
        self.ask_to_stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)

    def tidy(self) -> None:
        """End the workers, give back the port, drop the temporary folder."""
        self.jobs.close()
        self._socket.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __repr__(self) -> str:
        return f"Explorer({self.settings.model!r}, {self.url})"

    def _repr_html_(self) -> str:
        """An IFrame by the name that notebooks use for this machine, so that the cookie is of the
        same site.
        """
        url = escape(self.url.replace(LOOPBACK, "localhost"))
        return (
            f'<p><a href="{url}" target="_blank">{url}</a></p><iframe src="{url}" width="100%"'
            ' height="760"></iframe>'
        )


def explore(
    model: "Model | str | Path" = "demo",
    *,
    port: int = PORT,
    keep: str | Path | None = None,
    framed: bool = True,
) -> Explorer:
    """Open the explorer of a model in the background; in a notebook the answer shows itself.

        page = loci.explore(model)
        page.url
        page.stop()

    Args:
        model: an open model, or what `loci.open` takes. Its weights are read anew by the explorer's
            workers.
        port: the first port that is tried; 0: any.
        keep: a folder in which patches stay; None: they go when the explorer stops.
        framed: whether notebooks of this machine may show it in a frame.

    Returns: `Explorer`: `url`, `stop()`.
    Raises: `UseError` for something else than a model, `OutputError` where no port is free.
    Cost: nothing until a question is asked; then a process that opens the model, and another for
    slow work.
    """
    from loci.model import Model

    name, opening, fingerprint = str(model), dict[str, Any](), None
    if isinstance(model, Model):
        name, fingerprint = model.name, model.fingerprint
        opening = {"device": str(model.device), "dtype": model.dtype_name, "bos": model.bos}
        opening["join"] = {None: None, " ": "space", "": "nothing"}[model.join]
    elif not isinstance(model, (str, Path)):
        raise UseError(
            "the first argument is a model as loci.open gives it, or its name, not"
            f" {type(model).__name__}"
        )
    kept = Path(keep) if keep is not None else None
    page = Explorer(Settings(name, opening, port, kept, framed), fingerprint)
    try:
        return page.opened().start()
    except BaseException:
        page.tidy()
        raise


def serve(settings: Settings, ready: Callable[[Explorer], None]) -> None:
    """Run an explorer in this thread until it is stopped; `ready` hears of it before."""
    page = Explorer(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        ready(page.opened())
    except BaseException:
        page.tidy()
        raise
    page.run()
