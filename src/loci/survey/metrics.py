"""How far a run is, for Prometheus: its text format, at a port of this machine alone.

with served(plan, 9464) as at:
    run_plan(plan, file, folder, 8, at.tell)       # meanwhile: curl http://127.0.0.1:9464/metrics
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from loci.errors import ModelError
from loci.survey.driver import Tell, Told
from loci.survey.plan import Plan

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def seconds_left(plan: Plan, told: Told) -> float:
    """At the rate so far; as planned, where nothing is read yet."""
    left = told.shards_left / len(plan.pieces)
    return left * (plan.tokens / told.rate if told.rate else plan.seconds)


def exposition(plan: Plan, told: Told) -> str:
    """A run in the text format of Prometheus."""
    rows: list[tuple[str, str, str, list[tuple[str, float]]]] = [
        ("tokens_total", "counter", "tokens read in this run", [("", told.tokens)]),
        ("planned_tokens", "gauge", "tokens of the plan, about", [("", plan.tokens)]),
        ("tokens_per_second", "gauge", "mean rate of this run", [("", told.rate)]),
        ("shards", "gauge", "shards of the plan", [("", len(plan.pieces))]),
        ("shards_left", "gauge", "shards whose states are missing", [("", told.shards_left)]),
        ("seconds_left", "gauge", "at the rate so far", [("", seconds_left(plan, told))]),
        ("worker_deaths_total", "counter", "workers that have died", [("", told.deaths)]),
        ("damaged_states_total", "counter", "states made again", [("", told.damaged)]),
        (
            "worker_tokens_total",
            "counter",
            "tokens read, by worker",
            [(f'{{worker="{number}"}}', share) for number, share in sorted(told.shares.items())],
        ),
    ]
    return "".join(
        f"# HELP loci_survey_{name} {words}\n# TYPE loci_survey_{name} {kind}\n"
        + "".join(f"loci_survey_{name}{labels} {value:.17g}\n" for labels, value in values)
        for name, kind, words, values in rows
    )


class Served(NamedTuple):
    """Whom a run tells, and where that is read."""

    tell: Tell
    port: int


@contextmanager
def served(plan: Plan, port: int) -> Iterator[Served]:
    """Inside the block, what the run tells is at `http://127.0.0.1:PORT/metrics`; port 0 takes a
    free one. Raises `ModelError` for a port that is taken.
    """
    latest = [Told(shards_left=len(plan.pieces))]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/metrics"
            body = exposition(plan, latest[0]).encode() if known else b"see /metrics\n"
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not told."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        raise ModelError(f"--metrics-port {port}: cannot listen there ({error})") from None
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()

    def tell(told: Told) -> None:
        latest[0] = told

    try:
        yield Served(tell, server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
