"""Who is let in: this page with its token, from this machine; nobody else, whatever is asked."""

import logging

import pytest
from starlette.testclient import TestClient

from loci.explorer import Explorer
from loci.explorer.guard import STALE


def outside(page: Explorer, **headers: str) -> TestClient:
    return TestClient(page.guard, base_url=f"http://127.0.0.1:{page.port}", headers=headers)


def test_the_link_becomes_a_cookie_that_scripts_cannot_read(page: Explorer) -> None:
    answer = outside(page).get(page.url, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert (
        f"loci_{page.port}={page.token}" in cookie
        and "HttpOnly" in cookie
        and "SameSite=Strict" in cookie
    )
    assert page.token not in answer.headers["location"]


@pytest.mark.parametrize(
    "path", ["/", "/main.js", "/api/start", "/api/patches", "/?t=wrong", "/?t="]
)
def test_without_the_token_nothing_is_shown(page: Explorer, path: str) -> None:
    answer = outside(page).get(path)
    assert (answer.status_code, answer.text) == (403, STALE)
    stale = outside(page, cookie=f"loci_{page.port}=of-yesterday").get(path)
    assert stale.status_code == 403 and page.token not in stale.text


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:80",
    ],
)
def test_another_origin_is_refused(
    page: Explorer, client: TestClient, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "loci.explorer"):
        answer = client.post("/api/jobs", json={"verb": "about"}, headers={"origin": origin})
    assert answer.status_code == 403 and "origin" in answer.text
    assert len(caplog.records) == 1 and "\n" not in caplog.records[0].getMessage()
    assert page.token not in caplog.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}", "127.0.0.1.evil.example:{port}"],
)
def test_another_host_is_refused(page: Explorer, client: TestClient, host: str) -> None:
    assert (
        client.get("/api/start", headers={"host": host.format(port=page.port)}).status_code == 421
    )
    assert client.get("/api/start", headers={"host": f"localhost:{page.port}"}).status_code in (
        200,
        403,
    )


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/server.py",
        "/views/..%2f..%2fapp.py",
        "/%252e%252e/app.py",
        "/..\\app.py",
        "/api/patches/..%2f..%2fx",
    ],
)
def test_no_path_leaves_the_page(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "import" not in answer.text


@pytest.mark.parametrize(
    "path", ["/app.py", "/static/main.js", "//etc/passwd", "/views", "/api", "/api/nothing", "/%00"]
)
def test_only_files_of_the_page_are_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_what_changes_something_is_asked_by_post_from_the_own_page(client: TestClient) -> None:
    assert client.get("/api/stop").status_code == 404
    assert client.get("/api/jobs").status_code in (404, 405)
    assert client.post("/api/stop", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_answers_carry_a_strict_policy(client: TestClient) -> None:
    for path in ("/", "/main.js", "/api/start", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert (
            "default-src 'none'" in policy
            and "unsafe" not in policy
            and "http:" not in policy
            and "https:" not in policy
        )
        assert (
            headers["x-content-type-options"] == "nosniff"
            and headers["cache-control"] == "no-store"
        )


def test_bodies_are_short(client: TestClient) -> None:
    assert client.post("/api/jobs", content=b"x" * (2**18 + 1)).status_code == 413
