"""The routes: the page's files, and an API of JSON.

| route                       | does |
|-----------------------------|--------------------|
| GET  /                      | the page; /NAME its files |
| GET  /api/start             | version, name of the model, known facts of the embedded one |
| POST /api/jobs              | ask: {verb, args, patches}; a job, and the command |
| GET  /api/jobs/ID/events    | the job as it goes on, as server-sent events |
| POST /api/jobs/ID/cancel    | this page wants it no more |
| GET  /api/results/KEY       | the result, as `loci VERB --json` prints it |
| GET  /api/patches           | the patches of this run |
| GET  /api/patches/ID        | one as a file; ID.peft.zip as an adapter |
| GET  /api/schemas           | JSON schemas of what the verbs take, and the schema of the answer |
| POST /api/stop              | the end |
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from loci.errors import LociError
from loci.explorer.answers import ANSWERS
from loci.explorer.jobs import Jobs
from loci.explorer.kept_patches import KeptPatches
from loci.explorer.lanes import ENDED, Busy
from loci.explorer.verbs import VERBS
from loci.version import VERSION

KINDS = {
    "html": "text/html",
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "json": "application/json",
}
START = {"schema": "loci.explorer/1"}
FIRST, WORD = "Michael Jordan plays the sport of", "basketball"
"""The prompt and the word that the page of the embedded model begins with."""
BEAT, TURN = 0.1, 10.0
"""Seconds between two looks at a job, and after which a stream ends so that other pages of the
browser get a turn.
"""


def static_files() -> dict[str, tuple[bytes, str]]:
    """All files of the page by name, with their types. Read once:
    no request ever becomes a path.
    """
    contents: dict[str, tuple[bytes, str]] = {}

    def read(folder: Any, prefix: str) -> None:
        for item in folder.iterdir():
            if item.is_dir():
                read(item, f"{prefix}{item.name}/")
            elif (kind := KINDS.get(item.name.rpartition(".")[2])) is not None:
                contents[prefix + item.name] = (item.read_bytes(), f"{kind}; charset=utf-8")

    read(files("loci.explorer").joinpath("static"), "")
    return contents


class Api:
    """The handlers, over the jobs and the kept patches."""

    def __init__(self, jobs: Jobs, patches: KeptPatches, stop: Callable[[], None]) -> None:
        self.jobs, self.kept, self.stop = jobs, patches, stop
        self.files = static_files()

    def app(self) -> Starlette:
        routes = [
            Route("/api/start", self.start),
            Route("/api/jobs", self.ask, methods=["POST"]),
            Route("/api/jobs/{id}/events", self.events),
            Route("/api/jobs/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/api/results/{key}", self.result),
            Route("/api/patches", self.patches),
            Route("/api/patches/{name}", self.patch),
            Route("/api/schemas", self.schemas),
            Route("/api/stop", self.end, methods=["POST"]),
            Route("/{name:path}", self.file),
        ]
        return Starlette(routes=routes)

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"] or "index.html"
        if name not in self.files:
            return error(404, f"there is no {name[:80]!r} here")
        content, kind = self.files[name]
        return Response(content, headers={"content-type": kind})

    async def start(self, request: Request) -> Response:
        from loci.facts import known_facts

        embedded = self.jobs.settings.model == "demo"
        known = (
            [[f.subject, f.prompt, f.answer, f.relation] for f in known_facts()] if embedded else []
        )
        return JSONResponse(
            {
                **START,
                "version": VERSION,
                "model": self.jobs.settings.model,
                "facts": known,
                "first": FIRST if embedded else "",
                "word": WORD if embedded else "",
            }
        )

    async def ask(self, request: Request) -> Response:
        try:
            given = json.loads(await request.body())
        except ValueError:
            return error(400, "the body is no JSON")
        if not isinstance(given, dict):
            return error(400, "expected an object with verb, args and patches")
        try:
            job, said = self.jobs.ask(given.get("verb"), given.get("args"), given.get("patches"))
        except Busy as busy:
            return error(503, str(busy))
        except LociError as wrong:
            return error(400, str(wrong))
        return JSONResponse({**job.told(), **said}, 202)

    async def events(self, request: Request) -> Response:
        job = self.jobs.job(request.path_params["id"])
        if job is None:
            return error(404, "there is no such job")

        async def stream() -> AsyncIterator[str]:
            seen, clock = -1, asyncio.get_running_loop()
            end = clock.time() + TURN
            yield "retry: 300\n\n"
            while clock.time() < end:
                if job.version != seen:
                    seen = job.version
                    yield f"data: {json.dumps(job.told())}\n\n"
                    if job.state in ENDED:
                        return
                await asyncio.sleep(BEAT)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def cancel(self, request: Request) -> Response:
        job = self.jobs.job(request.path_params["id"])
        if job is None:
            return error(404, "there is no such job")
        self.jobs.cancel(job)
        return JSONResponse(job.told())

    async def result(self, request: Request) -> Response:
        content = self.jobs.result(request.path_params["key"])
        if content is None:
            return error(404, "this result is not kept any more: ask again")
        return Response(content, media_type="application/json")

    async def patches(self, request: Request) -> Response:
        return JSONResponse(
            {"schema": "loci.patches/1", "patches": await asyncio.to_thread(self.kept.listed)}
        )

    async def patch(self, request: Request) -> Response:
        name = request.path_params["name"]
        try:
            content, kind = await asyncio.to_thread(self.kept.file, name)
        except LociError as wrong:
            return error(404, str(wrong))
        return Response(
            content,
            media_type=kind,
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    async def schemas(self, request: Request) -> Response:
        return JSONResponse(
            {
                name: {"arguments": verb.arguments.model_json_schema(), "answer": ANSWERS[name]}
                for name, verb in VERBS.items()
            }
        )

    async def end(self, request: Request) -> Response:
        asyncio.get_running_loop().call_later(0.2, self.stop)
        return JSONResponse({"stopped": True})


def error(status: int, text: str) -> JSONResponse:
    """One line for the page."""
    return JSONResponse({"error": text}, status)
