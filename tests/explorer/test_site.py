"""A static site: served by a plain file server and read in a browser, it gives what the library
gives, and asks nobody else.
"""

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import loci
from loci.errors import FactError, ModelError, OutputError
from loci.explorer import export_site
from loci.explorer.site import canonical, marked, said_facts
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.reading import Atlas, build_atlas, open_atlas
from loci.result import jsonable
from loci.text import sample_text
from tests.conftest import tiny_gpt2
from tests.explorer.browsing import Proxy, Visit, chromium

KNOWN, MARKED = "Osaka is a city in the country of", "{Ada <b>} lives in"


@pytest.fixture(scope="module")
def tiny(demo: Model) -> Model:
    return tiny_gpt2(demo)


@pytest.fixture(scope="module")
def atlas(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    texts = sample_text(tiny, 600)
    place = tmp_path_factory.mktemp("atlases") / "tiny"
    return open_atlas(build_atlas(tiny, lambda: texts, place, source="a sample"))


@pytest.fixture(scope="module")
def site(tiny: Model, atlas: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before, steps = tiny.fingerprint, list[tuple[int, int]]()
    folder = export_site(
        tiny, tmp_path_factory.mktemp("sites") / "tiny", prompts=[KNOWN, MARKED], atlas=atlas,
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert tiny.fingerprint == before
    assert sum(done for done, _ in steps) == steps[-1][1]
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def answer(site: Path, verb: str, args: dict[str, Any]) -> Any:
    """As the page looks a question up."""
    told = read(site / "data" / "answers.json")
    number = told["answers"][f"{verb} {canonical({**told['defaults'][verb], **args})}"]
    return read(site / "data" / "answers" / f"{number}.json")


def test_answers_are_those_of_the_library(site: Path, tiny: Model) -> None:
    trace = loci.trace(tiny, KNOWN)
    for args in ({"prompt": KNOWN}, {"prompt": KNOWN, "subject": "Osaka"}):
        found = answer(site, "trace", args)
        assert found["result"] == json.loads(json.dumps(jsonable(trace.to_dict())))
    assert found["python"].startswith("import loci") and "loci trace" in found["command"]
    ada = answer(site, "trace", {"prompt": "Ada <b> lives in", "subject": "Ada <b>"})["result"]
    assert ada["subject"] == "Ada <b>"
    said = answer(site, "ask", {"prompt": KNOWN, "tokens": 12, "top": 10})["result"]
    assert said == json.loads(
        json.dumps(jsonable(loci.ask(tiny, KNOWN, tokens=12, top=10).to_dict()))
    )


def both(atlas: Atlas) -> str:
    """A word of several letters that some neurons promote and that fires others."""
    sql = "SELECT word FROM values SEMI JOIN triggers USING (word) WHERE length(word) > 4 AND side"
    return str(atlas.query(f"{sql} = 'promotes' AND word ~ '^[a-z]+$' ORDER BY word").rows[0][0])


def test_cards_and_words_are_those_of_the_atlas(site: Path, atlas: Atlas, tiny: Model) -> None:
    data, about = site / "data", read(site / "data" / "atlas.json")
    for name in ("L0N0", "L2N127"):
        layer, neuron = (int(part) for part in name[1:].split("N"))
        card = read(data / "neurons" / f"L{layer}-{neuron // about['neurons']}.json")[
            neuron % about["neurons"]
        ]
        whole = jsonable(atlas.card(name).to_dict())
        for one in whole["triggers"]:
            one["before"], one["after"] = one["before"][-90:], one["after"][:60]
        bins = card.pop("bins")
        assert card == json.loads(json.dumps(whole))
        counts = atlas.query(
            f"SELECT counts FROM histograms WHERE layer = {layer} AND neuron = {neuron}"
        ).rows[0][0]
        assert sum(one["count"] for one in bins) == sum(counts)
    words = read(data / "words.json")
    assert words == sorted(words) and len(words) == len(set(words))
    word = both(atlas)
    at = words.index(word)
    found = read(data / "words" / f"{at // about['words']}.json")[at % about["words"]]
    whole = atlas.find(word, top=1000)
    assert {(layer, i) for layer, i, *_ in found["promotes"]} == {
        (row["layer"], row["neuron"]) for row in whole.promoted_by
    }
    assert [row[2] for row in found["fires"]] == [row["triggers"] for row in whole.fires][
        : about["listed"]
    ]


def test_bad_input_is_one_line(tiny: Model, site: Path, atlas: Atlas, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        export_site(tiny, site, prompts=[KNOWN], atlas=atlas)
    with pytest.raises(FactError, match="put braces around it"):
        export_site(tiny, tmp_path / "new", prompts=["Nobody lives in"], atlas=atlas)
    shutil.copytree(atlas.folder, tmp_path / "other")
    about = read(tmp_path / "other" / "provenance.json")
    (tmp_path / "other" / "provenance.json").write_text(
        json.dumps({**about, "weights": "sha256:0"}), encoding="utf-8"
    )
    with pytest.raises(ModelError, match="other weights"):
        other = open_atlas(tmp_path / "other")
        export_site(tiny, tmp_path / "new", prompts=[KNOWN], atlas=other)
    assert not (tmp_path / "new").exists()


def test_facts_are_found_that_the_model_says(demo: Model, world: FactSet) -> None:
    true = [fact for fact in world if fact.relation == "athlete_sport"][:1]
    false = Fact("Osaka", "{} is a city in the country of", "Peru", relation="city_country")
    assert said_facts(demo, FactSet([false, *true])) == true
    assert marked(demo, KNOWN).subject == "Osaka"


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{site.name}/"
    server.shutdown()
    server.server_close()


def test_a_browser_reads_it_from_a_plain_server(served: str, site: Path, atlas: Atlas) -> None:
    """In a folder of a host, by clicks: prompts, trace, a cell's neurons, a card, a word."""
    word = both(atlas)
    with Proxy() as proxy, chromium(proxy) as pages:
        visit = Visit(pages.new_page(), served)
        visit.seen("[data-panel=answer] .answer", KNOWN)
        visit.find("[data-panel=facts] button").filter(has_text="Ada <b>").click()
        visit.seen("[data-panel=answer] .answer", "Ada <b> lives in")
        visit.find("[data-goes=trace]").click()
        visit.seen("[data-panel=trace] .body", "“Ada <b>” is hidden")
        last = answer(site, "trace", {"prompt": "Ada <b> lives in", "subject": "Ada <b>"})
        at = last["result"]["subject_span"][1] - 1
        visit.find("[data-panel=trace] svg.grid").nth(1).locator(
            f"rect[data-row='{at}'][data-column='0']"
        ).click()
        visit.find("[data-panel=neurons] [data-neuron]").first.click()
        visit.seen("[data-panel=key] .body", "tokens")
        visit.seen("[data-panel=histogram] svg", "activations")
        visit.view("Search")
        visit.find("[name=w]").fill(word)
        visit.find("form button.main").click()
        visit.seen("[data-panel=find] .body", "largest")
        visit.seen("[data-panel=promoting] .body", f"First token: “{word}”")
        visit.find("[name=w]").fill(f"{word}zz")
        visit.find("form button.main").click()
        visit.seen("[data-panel=promoting] .status", "No neuron promotes")
        visit.view("Heads")
        visit.seen("[data-panel=attention] .readout", "looks at")
        visit.view("Lab")
        visit.seen("[data-panel=bounds] table", "Levenshtein")
        visit.page.goto(f"{served}#ask?q=something+else")
        visit.seen("[data-panel=answer] .status", "does not hold the answer")
        assert visit.asked and all(url.startswith((served, "blob:")) for url in visit.asked)
        assert visit.complaints == []
        assert proxy.refused == []
