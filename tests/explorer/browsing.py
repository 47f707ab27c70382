"""A browser for tests: Debian's Chromium behind a proxy that counts and refuses, and a visit that
keeps what its page asked for and complained of.
"""

import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--no-first-run",
    "--disable-features=AutofillServerCommunication,OptimizationHints,MediaRouter,Translate",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip
WAIT = 150_000
AXE = Path(__file__).with_name("axe") / "axe.min.js"
"""axe-core 4.14.1, MPL-2.0, as npm has it."""

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
if not CHROMIUM.exists():
    pytest.skip(f"there is no {CHROMIUM}", allow_module_level=True)


OWN = re.compile(
    r"CONNECT ((www|accounts|android\.clients|clients\d|redirector)\.google\.com"
    r"|(content-autofill|update|optimizationguide-pa|safebrowsing\w*)\.googleapis\.com"
    r"|redirector\.gvt1\.com):443 "
)
"""What Chromium asks for itself: accounts, updates, forms. No page of ours could ask it unseen:
`Visit.asked` has all that a page asks.
"""


class Proxy:
    """What would be asked of other hosts: each request's first line, and a refusal."""

    def __init__(self) -> None:
        refused: list[str] = []

        class Refuse(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                line = self.rfile.readline(2000).decode("latin-1").strip()
                if not OWN.match(line):
                    refused.append(line)
                self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        self.refused = refused
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refuse)
        self.server.daemon_threads = True

    @property
    def settings(self) -> dict[str, str]:
        """For a context of pages: everything goes through it but this machine's own address. What
        the browser asks for itself (updates, accounts) is no page's, and does not get far.
        """
        return {"server": f"127.0.0.1:{self.server.server_address[1]}", "bypass": "127.0.0.1"}

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def chromium(proxy: Proxy) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser.new_context(
            proxy=proxy.settings, viewport={"width": 1200, "height": 900}, accept_downloads=True
        )
        browser.close()


class Visit:
    """A page, what it asked for, and what it complained of."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type == "error" else None,
        )
        page.goto(url)

    def find(self, selector: str) -> Any:
        return self.page.locator(selector)

    def seen(self, selector: str, text: str) -> None:
        sync_api.expect(self.find(selector).first).to_contain_text(text, timeout=WAIT)

    def view(self, name: str) -> None:
        self.find("#nav a").filter(has_text=name).click()
        self.seen("h1", name)

    def rest(self) -> None:
        """Wait until nothing is worked on any more."""
        busy = self.find(".status:not([hidden]) progress")
        while True:
            sync_api.expect(busy).to_have_count(0, timeout=WAIT)
            self.page.wait_for_timeout(300)  # the next panel says so after 120 ms
            if not busy.count():
                return

    def violations(self) -> list[str]:
        """What axe-core finds serious or critical, a line a rule with the first place of it."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations'], iframes: false, preload: false})"
            ".then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => `${v.id}: ${v.nodes[0].html.slice(0, 160)} ${v.nodes[0].failureSummary}`))"
        )
        return list(found)

    def result(self, verb: str, args: dict[str, Any]) -> Any:
        """A question as the page's modules ask it."""
        call = f"import('./api.js').then(api => api.ask({json.dumps(verb)}, {json.dumps(args)}))"
        return self.page.evaluate(call)["result"]
