"""The explorer as a static site: pages and answers that any web host serves, without a model.

    DIR/index.html, *.js, page.css      the page, told that it has no server
    DIR/data/start.json                 the model, and the prompts that are in it
    DIR/data/answers.json               which question lies in which file; defaults of the verbs
    DIR/data/answers/N.json             a result as the API gives it, with its command and its lines
    DIR/data/neurons, DIR/data/words    the atlas (see `site_atlas`)

A question is found by its content: the verb and all its arguments, written in one way by both
sides.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loci.errors import FactError
from loci.explorer.app import START, static_files
from loci.explorer.arguments import Arguments, parsed
from loci.explorer.desk import Desk, Tell
from loci.explorer.settings import Settings
from loci.explorer.site_atlas import put, write_atlas
from loci.explorer.spoken import command
from loci.explorer.spoken_python import python
from loci.explorer.verbs import VERBS
from loci.facts import Fact, FactSet, known_facts
from loci.files import check_writable, write_aside
from loci.model import Model
from loci.progress import Progress, silent
from loci.reading import Atlas, build_atlas, open_atlas
from loci.result import jsonable
from loci.text import sample_text
from loci.version import VERSION

FACTS, TRIED = 8, 64
"""Known facts that are shown where no prompt is said, and how many are asked for them at most."""
TOKENS = 20_000
"""Tokens of background text behind an atlas that is built for a site."""
MOST_HEADS, LONGEST = 64, 200
"""Heads whose patterns come whole, and characters of a text for it: as in the page."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'"
)
Question = tuple[str, dict[str, Any]]


def export_site(
    model: Model,
    folder: str | Path,
    *,
    prompts: Sequence[str] | None = None,
    atlas: Atlas | None = None,
    tokens: int = TOKENS,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> Path:
    """Write a model's atlas and some of its traces as a static site.

        loci.explorer.export_site(model, "site")

    Args:
        model: an open model; it is left as it was.
        folder: a new or empty folder.
        prompts: what is asked and traced; braces say the subject where no known one stands in it,
            as in "{Ada} lives in". None: up to 8 known facts that the model says, of as many
            relations.
        atlas: of this model; None: one is built over `tokens` tokens of background text.
        settings: how commands on the page open the model.
        progress: called with (steps done, steps in all).

    Returns: the folder.
    Raises: `FactError` for a prompt that cannot be asked and where no known fact is said,
        `ModelError` for another model's atlas, `OutputError` where the folder cannot be written.
    Cost: an atlas, and some seconds a prompt.
    """
    folder = Path(folder)
    check_writable(folder, folder=True)
    facts = [marked(model, text) for text in prompts] if prompts else said_facts(model)
    if not facts:
        raise FactError("the model says none of the known facts that were tried: say prompts")
    if atlas is not None:
        open_atlas(atlas.folder, model.fingerprint)
    with TemporaryDirectory() as room, write_aside(folder, folder=True) as aside:
        desk = Desk(settings or Settings(model.name), Path(room), model)
        asked: list[Question] = [("about", {}), ("bounds", {})]
        asked += [one for fact in facts for one in questions(model, fact)]
        steps = Steps(progress, len(asked))
        if atlas is None:
            texts, source = sample_text(model, tokens), f"{tokens:,} tokens of background text"
            build_atlas(model, lambda: texts, desk.atlas, source=source, progress=steps.before)
            atlas = open_atlas(desk.atlas)
        _write(aside, desk, facts, asked, steps)
        write_atlas(atlas, aside / "data")
    return folder


class Steps:
    """Progress over an atlas, whose steps are known when it begins, and then so many questions."""

    def __init__(self, progress: Progress, asked: int) -> None:
        self.progress, self.asked, self.earlier = progress, asked, 0

    def before(self, done: int, total: int) -> None:
        self.earlier = total
        self.progress(done, total + self.asked)

    def after(self) -> None:
        self.progress(1, self.earlier + self.asked)


def marked(model: Model, text: str) -> Fact:
    """The fact that a prompt asks for, braces around its subject where it is not known. Raises
    `FactError`.
    """
    from loci.model import fact_from

    before, opened, rest = text.partition("{")
    subject, closed, after = rest.partition("}")
    if opened and closed and subject.strip():
        return fact_from(model, f"{before}{{}}{after}", subject.strip())
    return fact_from(model, text, hint='put braces around it, as in "{Ada} lives in"')


def said_facts(model: Model, known: FactSet | None = None) -> list[Fact]:
    """Known facts that the model says in full, one a relation, the first eight."""
    from loci.auditing import ask

    chosen: dict[str, Fact] = {}
    by_relation: dict[str, list[Fact]] = {}
    for fact in known or known_facts():
        by_relation.setdefault(fact.relation or fact.prompt, []).append(fact)
    asked = 0
    for turn in range(3):
        for relation, facts in by_relation.items():
            if relation in chosen or turn >= len(facts) or asked >= TRIED or len(chosen) >= FACTS:
                continue
            asked += 1
            if ask(model, facts[turn].text, tokens=8).replies[0].answer == facts[turn].answer:
                chosen[relation] = facts[turn]
    return list(chosen.values())


def key(verb: str, args: Arguments) -> str:
    """A question as one text: what both sides look it up by."""
    return f"{verb} {canonical(args.model_dump(mode='json'))}"


def canonical(value: Any) -> str:
    """JSON as a browser writes it: sorted, without blanks, whole numbers without a point."""
    whole = {
        name: int(one) if isinstance(one, float) and one.is_integer() else one
        for name, one in value.items()
    }
    return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def questions(model: Model, fact: Fact) -> Iterator[Question]:
    """The requests that the page makes for one prompt."""
    text = fact.text
    asked = {"prompt": text, "subject": fact.subject}
    yield "ask", {"prompt": text, "tokens": 12, "top": 10}
    yield "lens_grid", {"prompt": text, "top": 5}
    yield "trace", asked
    yield "neurons", asked
    if model.n_layers * model.n_heads <= MOST_HEADS and len(text) <= LONGEST:
        yield "attention", {"text": text}
        return
    for layer in range(model.n_layers):
        yield "attention_top", {"text": text, "layer": layer}


def _write(
    aside: Path, desk: Desk, facts: Sequence[Fact], asked: Sequence[Question], steps: Steps
) -> None:
    """The page, what it begins with, and the answers."""
    for name, (content, _) in static_files().items():
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).write_bytes(content)
    page = (aside / "index.html").read_text(encoding="utf-8")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page = page.replace('<html lang="en">', '<html lang="en" data-site>')
    (aside / "index.html").write_text(
        page.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}'), encoding="utf-8"
    )
    data = aside / "data"
    (data / "answers").mkdir(parents=True)
    start = {
        **START,
        "version": VERSION,
        "model": desk.model.name,
        "facts": [[fact.subject, fact.prompt, fact.answer, fact.relation] for fact in facts],
        "first": facts[0].text,
        "word": facts[0].answer,
    }
    put(data / "start.json", start)
    put(data / "answers.json", _answers(data / "answers", desk, asked, steps))


def _answers(place: Path, desk: Desk, asked: Sequence[Question], steps: Steps) -> dict[str, Any]:
    """All answers, each in its file; a known subject need not be said to find them."""
    keys, settings = dict[str, int](), desk.settings
    for number, (verb, given) in enumerate(asked):
        args = parsed(VERBS[verb].arguments, given)
        tell = Tell(lambda message: None, lambda: False)
        result = jsonable(VERBS[verb].run(desk, args, (), tell))
        said = {
            "command": command(verb, args, (), settings),
            "python": python(verb, args, (), settings),
        }
        put(place / f"{number}.json", {"result": result, **said})
        keys[key(verb, args)] = number
        if "subject" in given and known_facts().subjects_in(given["prompt"]) == [given["subject"]]:
            keys[key(verb, args.model_copy(update={"subject": None}))] = number
        steps.after()
    defaults = {
        verb: json.loads(
            canonical(
                {
                    name: jsonable(field.default)
                    for name, field in VERBS[verb].arguments.model_fields.items()
                    if not field.is_required()
                }
            )
        )
        for verb in sorted({verb for verb, _ in asked})
    }
    return {"schema": "loci.explorer_site/1", "defaults": defaults, "answers": keys}
