"""Questions to the server: bad ones are refused in a line before a worker hears of them, good ones
wait, or hear that it is busy.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from loci.errors import OutputError
from loci.explorer import Explorer, Settings
from loci.explorer.lanes import Busy, Job, Lane
from loci.explorer.settings import PORTS_TRIED

PROMPT = "Michael Jordan plays the sport of"


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch):
    """Workers that take a job and do not answer until they are let."""
    free = threading.Event()

    def do(self: Lane, job: Job) -> None:
        free.wait(20)
        job.change(result={"schema": "test/1", "said": "<script>alert(1)</script>"}, state="done")

    monkeypatch.setattr(Lane, "_do", do)
    yield free
    free.set()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[", "no JSON"),
        ("[]", "expected an object"),
        ('{"verb": "rm"}', "there is no verb 'rm'"),
        ('{"verb": "ask"}', "prompt: field required"),
        (
            '{"verb": "ask", "args": {"prompt": ""}}',
            "prompt: string should have at least 1 character",
        ),
        (
            '{"verb": "ask", "args": {"prompt": "a", "path": "/etc"}}',
            "path: extra inputs are not permitted",
        ),
        ('{"verb": "ask", "args": {"prompt": "a", "top": 1e9}}', "top: input should be less than"),
        ('{"verb": "read", "args": {"neuron": "../x"}}', "neuron: string should match pattern"),
        (
            '{"verb": "ask", "args": {"prompt": "a"}, "patches": ["../x"]}',
            "expected ids of 12 hexadecimal digits",
        ),
        ('{"verb": "ask", "args": {"prompt": "a"}, "patches": "x"}', "patches: expected at most"),
    ],
)
def test_bad_questions_get_one_line(client: TestClient, body: str, reason: str) -> None:
    answer = client.post("/api/jobs", content=body)
    assert answer.status_code == 400
    assert reason in answer.json()["error"] and "\n" not in answer.json()["error"]


def test_many_pages_asking_the_same_share_a_job_and_too_many_hear_busy(
    client: TestClient, held: threading.Event
) -> None:
    first = client.post("/api/jobs", json={"verb": "ask", "args": {"prompt": PROMPT}}).json()
    same = [
        client.post("/api/jobs", json={"verb": "ask", "args": {"prompt": PROMPT}})
        for _ in range(50)
    ]
    assert {answer.json()["id"] for answer in same} == {first["id"]}
    others = [
        client.post("/api/jobs", json={"verb": "ask", "args": {"prompt": f"{i}"}})
        for i in range(50)
    ]
    assert {answer.status_code for answer in others} == {202, 503}
    assert "busy" in next(answer for answer in others if answer.status_code == 503).json()["error"]
    slow = client.post("/api/jobs", json={"verb": "heads"})
    assert slow.status_code == 202  # the slow lane is another


def test_fifty_at_once_get_a_job_or_hear_busy(page: Explorer, held: threading.Event) -> None:
    """From threads that start together; a question that is asked twice is in one job."""
    start = threading.Barrier(50)

    def ask(i: int) -> str:
        start.wait()
        try:
            return page.jobs.ask("ask", {"prompt": f"question {i % 25}"}, [])[0].id
        except Busy:
            return "busy"

    with ThreadPoolExecutor(50) as pool:
        heard = list(pool.map(ask, range(50)))
    jobs = set(heard) - {"busy"}
    assert "busy" in heard and 1 <= len(jobs) <= 3, "one runs, one or two wait (queued=1)"
    held.set()
    assert all(page.jobs._jobs[name].ended.wait(20) for name in jobs)


def test_in_a_notebook_it_shows_itself(page: Explorer) -> None:
    shown = page._repr_html_()
    assert f'<iframe src="http://localhost:{page.port}/?t={page.token}"' in shown
    assert "<script" not in shown


def test_a_result_is_kept_by_its_content(client: TestClient, held: threading.Event) -> None:
    held.set()
    asked = {"verb": "ask", "args": {"prompt": PROMPT}}
    job = client.post("/api/jobs", json=asked).json()
    lines = [
        line
        for line in client.get(f"/api/jobs/{job['id']}/events").text.splitlines()
        if line.startswith("data: ")
    ]
    assert '"state": "done"' in lines[-1]
    found = client.get(f"/api/results/{job['key']}")
    assert (
        found.headers["content-type"] == "application/json"
        and found.json()["said"] == "<script>alert(1)</script>"
    )
    again = client.post("/api/jobs", json=asked).json()
    assert again["state"] == "done" and again["key"] == job["key"]
    other = client.post("/api/jobs", json={**asked, "patches": ["0" * 12]}).json()
    assert other["key"] != job["key"]


def test_a_job_is_cancelled_when_the_last_page_that_wanted_it_is_gone(
    page: Explorer, client: TestClient, held: threading.Event
) -> None:
    client.post("/api/jobs", json={"verb": "ask", "args": {"prompt": "first"}})
    two = [
        client.post("/api/jobs", json={"verb": "ask", "args": {"prompt": "second"}}).json()
        for _ in range(2)
    ]
    states = [client.post(f"/api/jobs/{job['id']}/cancel").json()["state"] for job in two]
    assert states == ["queued", "cancelled"]
    assert client.post("/api/jobs/nothing/cancel").status_code == 404


def test_a_taken_port_gives_the_next_one(page: Explorer, tmp_path: Path) -> None:
    other = Explorer(Settings(port=page.port, keep=tmp_path))
    try:
        assert page.port < other.port < page.port + PORTS_TRIED
        assert f"port {page.port} is taken" in other.notes[0]
    finally:
        other.tidy()


def test_no_free_port_is_one_line(monkeypatch: pytest.MonkeyPatch, page: Explorer) -> None:
    monkeypatch.setattr("loci.explorer.server.PORTS_TRIED", 1)
    with pytest.raises(OutputError, match="is free: say another one"):
        Explorer(Settings(port=page.port))


def test_the_page_is_whole_and_asks_nobody_else(client: TestClient) -> None:
    """Every import is there, and no file names another host but SVG's namespace."""
    static = files("loci.explorer").joinpath("static")
    modules = [Path(str(path)) for path in Path(str(static)).rglob("*") if path.is_file()]
    for path in modules:
        text = path.read_text(encoding="utf-8")
        assert client.get("/" + path.relative_to(str(static)).as_posix()).status_code == 200
        for name in [
            line.split('"')[-2]
            for line in text.splitlines()
            if line.startswith(("import ", "} from "))
        ]:
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"
        assert "http" not in text.replace("http://www.w3.org/2000/svg", ""), path.name
        assert "innerHTML" not in text and "eval(" not in text
