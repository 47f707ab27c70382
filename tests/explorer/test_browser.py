"""The whole chain by clicks in a browser: prompt → trace → neuron → edit → undo, bit for bit; and
nothing leaves this machine.
"""

import json
import math
from collections.abc import Iterator

import pytest

import loci
from loci.explorer import Explorer
from loci.model import Model
from loci.patches import load_patch
from loci.writing.gates import step
from tests.explorer.browsing import Proxy, Visit, chromium, sync_api
from tests.explorer.test_spoken import understood

NAMELESS = (
    "[...document.querySelectorAll('button, a, input, select, textarea, svg')].filter(n =>"
    " n.getClientRects().length && !(n.getAttribute('aria-label') || n.innerText || n.textContent"
    " || n.labels?.length || n.title)).length"
)
MENUS = (
    "Object.fromEntries([...document.querySelectorAll('.panel[data-panel]')].filter(one =>"
    " one.querySelector('.tools .menu')).map(one => [one.dataset.panel, {drawn:"
    " !!one.querySelector('.body svg.figure'), said:"
    " [...one.querySelectorAll('.menu button')].map(each => each.innerText || each.textContent)}]))"
)
COPIES = """(async () => {
  const all = [];
  for (const menu of document.querySelectorAll('.panel .tools .menu')) {
    const pair = [];
    for (const kind of ['command', 'python']) {
      const button = menu.querySelector(`[data-copies=${kind}]`);
      let copied = null;
      const own = navigator.clipboard.writeText;
      navigator.clipboard.writeText = async (text) => { copied = text; };
      button?.click();
      navigator.clipboard.writeText = own;
      pair.push(button && copied === null ? 'nothing was copied' : copied);
    }
    all.push(pair);
  }
  return all;
})()"""
"""Every panel's copies are clicked; what each gives to the clipboard."""
PROMPT = "Michael Jordan plays the sport of"


@pytest.fixture(scope="module")
def explorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explorer]:
    page = loci.explore("demo", port=0, keep=tmp_path_factory.mktemp("patches"))
    yield page
    page.stop()


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def visit(explorer: Explorer, proxy: Proxy) -> Iterator[Visit]:
    with chromium(proxy) as pages:
        yield Visit(pages.new_page(), explorer.url)


def home(explorer: Explorer) -> str:
    return f"http://127.0.0.1:{explorer.port}/"


def test_a_fact_is_seen_followed_changed_and_put_back(visit: Visit, demo: Model) -> None:
    visit.seen("[data-panel=answer] .answer", "basketball")
    before = visit.find("[data-panel=answer] .bars").inner_text()
    assert "t=" not in visit.page.url  # the token is in a cookie by now

    visit.find("[data-goes=trace]").click()
    visit.seen("[data-panel=trace] .body", "63.1% to win back")
    assert visit.find("[data-panel=trace] svg.grid").count() == 3
    visit.find("[data-panel=trace] svg.grid").nth(1).locator(
        "rect[data-row='2'][data-column='0']"
    ).click()
    visit.seen("[data-panel=trace] .readout", "n = 10 draws")
    visit.seen("[data-panel=neurons] table", "L0N21")
    visit.find("[data-panel=neurons] [data-neuron=L0N21]").first.click()

    visit.seen("h1", "Neuron")
    visit.seen("[data-panel=value] .chips", "")
    visit.find("[data-sets='0']").click()
    visit.seen("[data-panel=change] .both", "L0N21 × 0")

    visit.view("Edit")
    visit.find("[name=new]").fill("baseball")
    visit.find("[data-panel=make] button.main").click()
    visit.seen("[data-panel=stack] li.on", "baseball")
    visit.seen("[data-panel=sides] .both > div:nth-child(2) .answer", "baseball")
    visit.seen("[data-panel=moved] .body", "n = 20")
    visit.view("Ask")
    visit.seen("[data-panel=answer] .answer", "baseball")

    visit.view("Edit")
    visit.find("[data-does=undo]").click()
    verdict = visit.find("[data-panel=stack] .verdict.good")
    verdict.wait_for()
    assert (
        verdict.get_attribute("data-fingerprint")
        == verdict.get_attribute("data-base")
        == demo.fingerprint
    )
    asked = {"prompt": PROMPT, "tokens": 3, "top": 9}  # a question that was not asked before
    heard, here = (
        visit.result("ask", asked)["replies"][0],
        loci.ask(demo, PROMPT, tokens=3, top=9).to_dict()["replies"][0],
    )
    assert (heard["says"], heard["answer"]) == (here["says"], here["answer"])
    assert heard["probability"] == pytest.approx(here["probability"], abs=1e-5), (
        "the worker has other threads, and so other rounding"
    )
    visit.page.go_back()  # the back button undoes the undoing
    visit.seen("[data-panel=stack] li.on", "baseball")
    visit.find("[data-does=undo]").click()
    visit.view("Ask")
    visit.seen("[data-panel=answer] .answer", "basketball")
    assert visit.find("[data-panel=answer] .bars").inner_text() == before


def test_markup_in_a_link_stays_text(visit: Visit, explorer: Explorer) -> None:
    evil = (
        "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script> plays the sport of"
    )
    visit.page.goto(
        home(explorer)
        + "#ask?"
        + visit.page.evaluate("q => new URLSearchParams({q}).toString()", evil)
    )
    visit.seen("[data-panel=answer] .answer", "<script>window.hacked=1</script>")
    assert visit.page.evaluate("window.hacked") is None
    assert visit.find("main img, main script").count() == 0


def test_a_link_made_for_other_weights_says_so(visit: Visit, explorer: Explorer) -> None:
    visit.page.goto(home(explorer) + "#ask?m=0123456789ab")
    visit.seen("#banner", "0123456789ab")


@pytest.mark.parametrize(("theme", "width"), [("light", 1200), ("dark", 360)])
def test_every_view_can_be_used_by_all(
    visit: Visit, explorer: Explorer, theme: str, width: int
) -> None:
    """No view is wider than the screen, what can be used has a name for ears, and axe-core finds
    nothing serious.
    """
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.page.evaluate("theme => localStorage.setItem('loci-theme', theme)", theme)
    visit.page.goto(home(explorer) + f"?{theme}#learn")
    visit.seen("h1", "Learn")
    found, copied = dict[str, list[str]](), list[tuple[str, str]]()
    for link in visit.find("#nav a").all_inner_texts():
        visit.view(link)
        visit.rest()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, link
        assert visit.page.evaluate(NAMELESS) == 0, link
        for panel, given in visit.page.evaluate(MENUS).items():
            assert {"JSON", "CSV"} <= set(given["said"]), (link, panel)
            assert ({"SVG", "PNG"} <= set(given["said"])) == given["drawn"], (link, panel)
        found |= {link: wrong} if (wrong := visit.violations()) else {}
        copied += [tuple(pair) for pair in visit.page.evaluate(COPIES)]
    visit.page.set_viewport_size({"width": 1200, "height": 900})
    assert found == {}
    for line, code in copied:
        understood(line) if line else None
        compile(code, "<copied>", "exec") if code else None
    commands = {line.split()[1] for line, _ in copied if line}
    assert {"ask", "trace", "read", "circuits", "superposition"} <= commands
    visit.page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    assert [line.split(":")[0] for line in visit.violations()] == ["label"], "it does look"


def test_the_gate_of_the_page_is_that_of_the_library(visit: Visit) -> None:
    for angle, bias, act in ((90, -1.0, "relu"), (84, -1.0, "relu"), (84, -1.1, "gelu")):
        cosine = math.cos(math.radians(angle))
        call = f"import('/gate.js').then(gate => gate.truthTable({cosine}, {bias}, '{act}'))"
        cases = step("", act, cosine, bias).cases
        for row, case in zip(visit.page.evaluate(call), cases, strict=True):
            assert (row["name"], row["first"], row["last"]) == (case.name, case.first, case.last)
            assert row["pre"] == pytest.approx(case.pre, abs=1e-12) and row[
                "neuron"
            ] == pytest.approx(case.neuron, abs=1e-6)


def test_random_directions_of_the_page_have_the_angles_that_they_should(visit: Visit) -> None:
    """Of pairs in d dimensions the cosine has mean 0 and variance 1/d; in two dimensions angles are
    spread evenly.
    """
    cosines = visit.page.evaluate(
        "import('/gate.js').then(gate => gate.angles(64, 60).map(a => Math.cos(a * Math.PI / 180)))"
    )
    assert len(cosines) == 1770
    assert abs(sum(cosines) / 1770) < 0.02
    assert sum(c * c for c in cosines) / 1770 == pytest.approx(1 / 64, rel=0.1)


def test_slips_are_forgiven_in_the_search_for_facts(visit: Visit) -> None:
    find = "import('/search.js').then(m => m.search(m.prepare(%s), %s).found)"
    texts = json.dumps(
        ["Michael Jordan plays basketball", "Gérard Dupont speaks French", "Osaka is in Japan"]
    )
    for query, wanted in (
        ("Micheal Jordn", [0]),
        ("gerard", [1]),
        ("osaka japan", [2]),
        ("zzz", []),
        ("", [0, 1, 2]),
    ):
        assert visit.page.evaluate(find % (texts, json.dumps(query))) == wanted, query


def test_a_lesson_drives_the_views(visit: Visit) -> None:
    visit.view("Learn")
    visit.find("[data-starts=facts]").click()
    visit.seen("#lesson", "1 / 12")
    visit.find("[data-does=forward]").click()
    visit.seen("#lesson", "2 / 12")
    visit.page.go_back()
    visit.seen("#lesson", "1 / 12")
    visit.seen("h1", "Ask")


def test_a_view_is_one_file_without_scripts(visit: Visit) -> None:
    visit.view("Trace")
    visit.seen("[data-panel=trace] .readout", "Choose a cell")
    with visit.page.expect_download() as taken:
        visit.find("#top button").filter(has_text="Save view").click()
    page = taken.value.path().read_text(encoding="utf-8")
    assert "<svg" in page and "63.1% to win back" in page and "--paper:" in page
    assert "<script" not in page
    assert "//" not in page.replace("http://www.w3.org/", "").replace("/*", "").split("</style>")[1]


def test_nothing_left_this_machine_and_nothing_was_wrong(
    visit: Visit, explorer: Explorer, proxy: Proxy
) -> None:
    """By what the page asked for, and by what reached the proxy that stands for all other hosts."""
    assert visit.asked and all(
        url.startswith(home(explorer))
        or url.startswith("data:")
        or url.startswith("blob:" + home(explorer))
        for url in visit.asked
    )
    assert visit.complaints == []
    assert proxy.refused == []
    visit.page.evaluate("fetch('http://elsewhere.invalid/x', {mode: 'no-cors'}).catch(() => {})")
    assert proxy.refused == [], "the policy stops it in the page"
    with pytest.raises(sync_api.Error, match="RESPONSE_CODE_FAILURE"):
        visit.page.context.new_page().goto("http://elsewhere.invalid/x")
    assert proxy.refused[0].startswith("GET http://elsewhere.invalid/x"), "the proxy counts"


def test_the_page_stops_the_explorer(visit: Visit, explorer: Explorer) -> None:
    kept = sorted(explorer.folder.glob("*.safetensors"))
    visit.page.on("dialog", lambda dialog: dialog.accept())
    visit.find("#top button").filter(has_text="Stop").click()
    visit.seen("#content", "The explorer has stopped")
    explorer.stop()
    assert explorer._thread is not None and not explorer._thread.is_alive()
    lanes = explorer.jobs.lanes.values()
    assert all(lane._process is None or lane._process.poll() is not None for lane in lanes)
    assert sorted(explorer.folder.glob("*.safetensors")) == kept
    assert all(load_patch(file).factors for file in kept), "what was to be kept is there, whole"
