"""Who may ask: only this machine's own page, with the token of this run.

Each request is looked at before anything else is done with it:

1. Host is one of ours: a name that was made to point at 127.0.0.1 (DNS rebinding) is refused.
2. Origin, where a browser names one, is ours; what changes state (POST) must name one, or come
   without a browser.
3. The path has no `..`, in whatever spelling; files are looked up by name, never joined to a
   folder.
4. The token of this run: once in the link, from then on in a cookie that scripts cannot read and
   other sites cannot send.

A refusal is one line of text, and one line of the log.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote

log = logging.getLogger("loci.explorer")
HOSTS = ("127.0.0.1", "localhost", "[::1]")
LARGEST = 2**18
"""Bytes of a request's body."""
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
STALE = (
    "This link is not of the explorer that runs now: open the address that `loci explore` printed"
    " last."
)


def policy(framed: bool) -> str:
    """The Content-Security-Policy: nothing but our own files, no inline script or style, no frame
    but a notebook's where wanted.
    """
    frames = "'self' http://localhost:* http://127.0.0.1:*" if framed else "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        f" connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
    )


class Guard:
    """An ASGI app around the explorer's."""

    def __init__(self, app: App, token: str, *, framed: bool = False) -> None:
        self.app, self.token, self.policy = app, token, policy(framed)
        self.port = 0
        """Where the server listens, once it does."""

    @property
    def cookie(self) -> str:
        """Cookies are shared by all ports of a host, so the port stands in the name."""
        return f"loci_{self.port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = self._refused(scope, headers)
        if refused:
            log.warning(
                "refused: %s %s: %s", scope["method"], ascii(scope["path"])[1:-1][:200], refused[1]
            )
            await _say(send, *refused)
            return
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and "t" in query:
            await self._let_in(send)
            return
        await self.app(scope, _limited(receive), self._with_headers(send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason; None where all is well."""
        host = headers.get("host", "")
        if host not in {f"{name}:{self.port}" for name in HOSTS}:
            return 421, f"the host {ascii(host)[:80]} is not this explorer"
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return 403, f"the origin {ascii(origin)[:80]} may not ask"
        if (
            headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
            and scope["method"] != "GET"
        ):
            return 403, "a request from another site"
        raw = unquote(unquote(scope.get("raw_path", b"").decode("latin-1") or scope["path"]))
        if ".." in raw.replace("\\", "/").split("/"):
            return 404, "there is no such place"
        if (
            int(length if (length := headers.get("content-length", "0")).isdecimal() else 0)
            > LARGEST
        ):
            return 413, "the request is too long"
        given = (
            parse_qs(scope["query_string"].decode("latin-1")).get("t")
            if scope["path"] == "/"
            else None
        )
        token = given[0] if given else _cookie(headers.get("cookie", ""), self.cookie)
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return 403, STALE
        return None

    async def _let_in(self, send: Send) -> None:
        """The token from the link goes to a cookie, and out of the address."""
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [
            (b"location", b"/"),
            (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"),
            (b"content-length", b"0"),
        ]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _with_headers(self, send: Send) -> Send:
        added = [
            (b"content-security-policy", self.policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cache-control", b"no-store"),
        ]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        return sending


def _limited(receive: Receive) -> Receive:
    """A body that ends where it gets too long, whatever its header said."""
    seen = 0

    async def receiving() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > LARGEST:
            return {"type": "http.disconnect"}
        return message

    return receiving


def _cookie(header: str, name: str) -> str:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


async def _say(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
