"""A long pass as a value: which texts by content, through which model, accumulating what; cut into
shards before any is run.

    plan = make_plan(ModelSource("demo"), question, text=Path("wiki.jsonl"))
        # weights are hashed where they lie, none is loaded
    plan.write("pass.json")        Plan.read("pass.json")

    id of a shard  hash of (checkpoint, how it is opened, question, batches, the shard's text and
                   its place)
    id of a node   hash of the ids that it joins          the root's id is the plan's

So the name of a state says everything that its numbers depend on. The number of workers is not
among it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from loci.errors import ModelError
from loci.files import write_aside
from loci.model.sources import folder_of
from loci.model.weights import Weights
from loci.survey.plan_document import SCHEMA, ModelSource, PlanDocument
from loci.survey.question import SurveyQuestion
from loci.survey.states import FORMAT
from loci.survey.tree import MergeNode, nodes, root
from loci.text.ranges import Piece, cut
from loci.validate import named, read_json, typed
from loci.version import VERSION

SHARD_TOKENS = 65_536
A_TOKEN = 4
"""Characters of a token where texts are cut: the same for all models and texts, so that a text that
has grown has the same shards.
"""
SAMPLE = 2**20
"""Characters that are tokenised to learn how many a token has."""


@dataclass(frozen=True)
class Plan:
    """A pass that can be run in parts."""

    opening: ModelSource
    checkpoint: str
    """Hash of the model's files."""
    text: str | None
    """Its file or folder; None: the embedded text."""
    question: SurveyQuestion
    batch_tokens: int
    threads: int
    """Of each worker: with others, sums differ in the last bits."""
    pieces: tuple[Piece, ...]
    tokens: int
    """About: by the characters that a token has in a sample."""
    flops: int
    state_bytes: int
    worker_bytes: int
    shared_bytes: int
    disk_bytes: int
    seconds: float
    """With one worker, at this machine's measured rate."""
    weights: str | None = None
    """Fingerprint that the weights have to have once they are open, where it is known."""

    @cached_property
    def ids(self) -> dict[MergeNode, str]:
        """The name of each node's state."""
        head = _hash(self.head)
        names: dict[MergeNode, str] = {}
        for node in nodes(len(self.pieces)):
            if node.level:
                names[node] = _hash([names[child] for child in node.children(len(self.pieces))])
            else:
                piece = self.pieces[node.number]
                names[node] = _hash([head, piece.digest, piece.first])
        return names

    @property
    def id(self) -> str:
        return self.ids[root(len(self.pieces))]

    @cached_property
    def head(self) -> dict[str, Any]:
        """The settings on which the numbers depend beside the text."""
        how = {
            name: value
            for name, value in asdict(self.opening).items()
            if name in ("device", "dtype", "bos")
        }
        batches = {"batch_tokens": self.batch_tokens, "threads": self.threads}
        return {
            "format": FORMAT,
            "checkpoint": self.checkpoint,
            "question": self.question.document(),
            **how,
            **batches,
        }

    @property
    def source(self) -> Path | None:
        return None if self.text is None else Path(self.text)

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self._plain()}
        more = {
            "opening": asdict(self.opening),
            "question": self.question.document(),
            "pieces": [list(piece) for piece in self.pieces],
        }
        return {"schema": SCHEMA, "loci": VERSION, "shards": len(self.pieces), **plain, **more}

    @classmethod
    def _plain(cls) -> list[str]:
        """The fields that a document holds as they are."""
        return [
            name
            for name in cls.__dataclass_fields__
            if name not in ("opening", "question", "pieces")
        ]

    def write(self, path: str | Path) -> None:
        """Raises `OutputError`."""
        with write_aside(path) as aside:
            aside.write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """Raises `ModelError` for what is no plan, and for a plan of another version of Loci."""
        where, document = named(path), read_json(path, ModelError, most=2**31)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ModelError(f"{where}: no plan of a survey: make one with `loci survey plan`")
        if document.get("loci") != VERSION:
            raise ModelError(
                f"{where}: the plan of Loci {document.get('loci')}, this is {VERSION}: make a new"
                " plan, or install that version"
            )
        fields = typed(PlanDocument, document, where, ModelError)
        pieces = tuple(_piece(piece, where) for piece in fields["pieces"])
        if not pieces or fields["shards"] != len(pieces):
            raise ModelError(
                f"{where}: pieces: expected {fields['shards']} of them, found {len(pieces)}"
            )
        plain: dict[str, Any] = {name: fields[name] for name in cls._plain()}  # type: ignore[literal-required]
        return cls(
            opening=ModelSource(**fields["opening"]),
            question=SurveyQuestion.read(fields["question"], where),
            pieces=pieces,
            **plain,
        )


def _piece(said: list[Any], where: str) -> Piece:
    kinds = [int, int, int, int, int, str]
    if [type(value) for value in said] != kinds or min(said[:-1]) < 0:
        raise ModelError(
            f"{where}: pieces: expected [start, stop, first, texts, characters, digest], found"
            f" {said!r:.60}"
        )
    return Piece(*said)


def make_plan(
    opening: ModelSource,
    question: SurveyQuestion,
    text: str | Path | None = None,
    *,
    limit: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    batch_tokens: int = 4096,
    threads: int = 1,
) -> Plan:
    """Cut a text into shards and say what a pass over it costs.

    Args:
        opening: the model; its weights are hashed, not loaded.
        question: what is accumulated.
        text: a file or a folder of text; the embedded text by default.
        limit: about so many tokens at most, in whole shards.
        shard_tokens: about so many tokens a shard, of `A_TOKEN` characters each.
        batch_tokens: most tokens in a batch.
        threads: of each worker.

    Raises: `ModelError` where there is no text, no such model, or no such point.
    Cost: the text is read once, the weights' files are hashed (about a second a gigabyte), a sample
    is tokenised.
    """
    from loci.survey.costs import costs

    if Path(opening.model).is_dir():
        opening = replace(opening, model=str(Path(opening.model).absolute()))
    weights = opening.open_weights()
    for point in question.points:
        weights_point(weights, point)
    path = None if text is None else Path(text).absolute()
    ratio = characters_a_token(weights, path)
    pieces = tuple(
        cut(path, A_TOKEN * shard_tokens, None if limit is None else round(limit * ratio))
    )
    tokens = round(sum(piece.characters for piece in pieces) / ratio)
    return Plan(
        opening=opening,
        checkpoint=checkpoint_hash(opening.model),
        text=None if path is None else str(path),
        question=question,
        batch_tokens=batch_tokens,
        threads=threads,
        pieces=pieces,
        tokens=tokens,
        **costs(
            weights,
            question,
            tokens,
            len(pieces),
            batch_tokens,
            threads,
            opening.device,
            stays=opening.device_map == "disk",
        )._asdict(),
    )


def weights_point(weights: Weights, point: str) -> None:
    """Raise `ModelError` for a point that the model has not, or that is no vector a token."""
    from loci.model.points import lacks, parse_point
    from loci.survey.question import width

    width(weights, point)
    reason = lacks(weights.layout, parse_point(point, weights.n_layers)[0])
    if reason is not None:
        raise ModelError(f"{weights.name!r} has no point {point!r}: {reason}")


def characters_a_token(weights: Weights, path: Path | None) -> float:
    """How many characters of the text make a token, in its first `SAMPLE` characters."""
    from loci.text.ranges import read_range

    piece = next(cut(path, SAMPLE))
    texts = [one.text for one in read_range(path, piece) if one.fault is None]
    ids = weights.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    tokens = sum(map(len, ids))
    if not tokens:
        raise ModelError("the tokenizer finds no token in the text")
    return sum(map(len, texts)) / tokens


def checkpoint_hash(model: str) -> str:
    """A hash of the files that make a model: configuration, weights, tokenizer. Raises
    `ModelError`.
    """
    folder = folder_of(model)
    if folder is None:
        raise ModelError(f"{model!r}: its files are not on this machine")
    kinds = (".safetensors", ".json", ".bin", ".model", ".txt", ".py")
    digest = hashlib.sha256()
    try:
        for path in sorted(
            path for path in folder.iterdir() if path.suffix in kinds and path.is_file()
        ):
            with path.open("rb") as file:
                digest.update(
                    f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                )
    except OSError as error:
        raise ModelError(f"{model!r}: cannot be read ({error.strerror})") from None
    return f"sha256:{digest.hexdigest()}"


def _hash(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:40]
