"""An atlas opened from its folder: find neurons by words, show one, ask in SQL.

    atlas = open_atlas("demo-atlas")
    atlas.find("basketball")                         # neurons that promote it, and neurons that
                                                     fire at it
    atlas.card("L1N37")
    atlas.query("SELECT layer, count(*) FROM neurons WHERE dead GROUP BY layer")

Nothing is loaded but what a question needs: tables sorted by word are looked up by their row
groups' ranges. Questions only read: a statement that writes is refused, and no file outside the
atlas can be reached.
"""

import difflib
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from loci.errors import ModelError
from loci.model.names import NEURON, neuron_name
from loci.reading.atlas_answers import KINDS, NeuronKind, QueryRows, WordNeurons
from loci.reading.atlas_folder import TABLES, check_columns, read_provenance
from loci.reading.atlas_sql import ask
from loci.reading.atlas_tables import quoted
from loci.reading.neuron_cards import NeuronCard, Trigger
from loci.result import About, Result
from loci.tables import Table, columns


def open_atlas(folder: str | Path, fingerprint: str | None = None) -> "Atlas":
    """Open the atlas in a folder.

        loci.open_atlas("atlas").find("capital")

    Args:
        folder: written by `build_atlas`.
        fingerprint: accept only the atlas of these weights.

    Returns: `Atlas`.
    Raises: `ModelError` where there is none, where it is half-built or broken, or of another model.
    """
    folder = Path(folder)
    provenance = read_provenance(folder)
    if fingerprint is not None and provenance["weights"] != fingerprint:
        raise ModelError(
            f"{folder} is the atlas of other weights ({provenance['model']}, "
            f"{provenance['weights'][:15]}…)"
        )
    return Atlas(folder, provenance)


@dataclass(frozen=True)
class Atlas(Result):
    """A finished atlas on disk."""

    about: ClassVar[About] = About(
        "an atlas",
        "All neurons of a model at a glance.",
        "Points are neurons; dead, always-on and erasing ones stand out.",
        "atlas.atlas_figure",
    )

    folder: Path
    provenance: dict[str, Any]

    def title(self) -> str:
        about = self.provenance
        return (
            f"{self.folder}: {about['layers'] * about['d_mlp']:,} neurons of {about['model']}"
            f" {about['weights'][:12]}, over {about['tokens']:,} tokens of {about['text']}"
        )

    def tables(self) -> tuple[Table, ...]:
        names = ("firing", "dead", "always_on", "erasers", "agrees", "cosine", "max")
        shares = [f"{name.replace('_', ' ')}|.1%" for name in names[:5]]
        return (
            Table(
                "By layer",
                columns("layer", *shares, "median cosine|+.2f", "median largest|.2f"),
                tuple(
                    (str(row["layer"]), *(row[name] for name in names)) for row in self.by_layer()
                ),
                note="agrees: the value's first token is the one that followed its first trigger",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {**self.provenance, "folder": str(self.folder), "by_layer": self.by_layer()}

    def by_layer(self) -> list[dict[str, Any]]:
        """Per layer the shares of dead, always-on, erasing and agreeing neurons, the mean firing
        rate, and medians over neurons."""
        return self._dicts(
            "SELECT layer, count(*) AS neurons, avg(firing_rate) AS firing, avg(dead::INT) AS "
            "dead, avg(always_on::INT) AS always_on, "
            f"avg(({KINDS['eraser'][0]})::INT) AS erasers, median(cosine) AS cosine, median(q90) "
            "AS q90, median(q99) AS q99, median(max) AS max, avg(agrees::INT) AS agrees "
            "FROM neurons GROUP BY layer ORDER BY layer"
        )

    def scatter(self, most: int = 4000) -> dict[str, list[Any]]:
        """Layer, neuron, cosine and firing rate of at most so many neurons, evenly taken."""
        step = -(-self.provenance["layers"] * self.provenance["d_mlp"] // most)
        answer = self.query(
            "SELECT layer, neuron, cosine, firing_rate FROM neurons WHERE (layer * "
            f"{self.provenance['d_mlp']} + neuron) % {step} = 0"
        )
        return dict(zip(answer.columns, map(list, zip(*answer.rows, strict=True)), strict=True))

    @cached_property
    def _database(self) -> Any:
        try:
            duckdb = import_module("duckdb")
        except ImportError:
            raise ModelError("an atlas needs loci-lm[tables]") from None
        connection = duckdb.connect()
        try:
            for name in TABLES:
                path = quoted(self.folder / f"{name}.parquet")
                connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({path})")
                columns = connection.execute(f"DESCRIBE {name}").fetchall()
                check_columns(name, {column: kind for column, kind, *_ in columns}, self.folder)
        except duckdb.Error as error:
            raise ModelError(
                f"{self.folder}: the atlas is broken ({_first(error)}); build it again"
            ) from None
        connection.execute(f"SET allowed_directories=[{quoted(self.folder)}]")
        connection.execute("SET enable_external_access=false")
        connection.execute("SET lock_configuration=true")
        return connection

    def query(self, sql: str) -> QueryRows:
        """Ask in SQL over the tables.

        Raises `ModelError` for what is no single SELECT, or what DuckDB does not understand.
        """
        database, duckdb = self._database, import_module("duckdb")
        try:
            statements = database.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise ModelError("an atlas is only read: ask with one SELECT")
            return ask(database, statements[0].query.strip().rstrip(";"))
        except duckdb.Error as error:
            raise ModelError(
                f"the question cannot be answered: {_first(error)} (tables: {', '.join(TABLES)})"
            ) from None

    def find(
        self,
        word: str,
        *,
        top: int = 20,
        layer: int | None = None,
        cosine: tuple[float, float] = (-1.0, 1.0),
        rate: tuple[float, float] = (0.0, 1.0),
    ) -> WordNeurons:
        """Neurons whose values promote a word, by rank and score, and neurons that are largest
        at it, by how many of their triggers are.

        Filters: one layer, a range of key·value cosines, a range of firing rates. Raises
        `ModelError` for a word that nowhere occurs.
        """
        wanted = word.strip().casefold()
        where = _filters(layer, cosine, rate)
        literal = quoted(wanted)
        promoted = self._named(
            "SELECT n.layer, n.neuron, min(v.rank) AS rank, max(v.score) AS score, n.cosine, "
            "n.firing_rate "
            f"FROM (SELECT * FROM values WHERE word = {literal} AND side = 'promotes') v JOIN "
            f"neurons n USING (layer, neuron) WHERE {where} "
            f"GROUP BY ALL ORDER BY rank, score DESC LIMIT {int(top)}"
        )
        fires = self._named(
            "SELECT n.layer, n.neuron, count(*) AS triggers, max(t.activation) AS activation, "
            "n.cosine, n.firing_rate "
            f"FROM (SELECT * FROM triggers WHERE word = {literal}) t JOIN neurons n USING (layer, "
            f"neuron) WHERE {where} "
            f"GROUP BY ALL ORDER BY triggers DESC, activation DESC LIMIT {int(top)}"
        )
        if not promoted and not fires and not self._occurs(literal):
            raise ModelError(
                f"no neuron promotes {word!r} or fires at it{self._suggestion(wanted)}"
            )
        return WordNeurons(self.provenance["model"], wanted, promoted, fires)

    def kind(
        self,
        kind: str,
        *,
        top: int = 20,
        layer: int | None = None,
        cosine: tuple[float, float] = (-1.0, 1.0),
        rate: tuple[float, float] = (0.0, 1.0),
    ) -> NeuronKind:
        """Erasers, dead or always-on neurons, with the filters of `find`.

        Raises `ModelError` for another kind.
        """
        if kind not in KINDS:
            raise ModelError(f"there are no {kind!r} neurons: kinds are {', '.join(KINDS)}")
        rule, order, words = KINDS[kind]
        where = f"FROM neurons n WHERE ({rule}) AND {_filters(layer, cosine, rate)}"
        listed = self._named(
            f"SELECT layer, neuron, cosine, firing_rate, mean, max, value_norm, cluster {where} "
            f"ORDER BY {order}, layer, neuron LIMIT {int(top)}"
        )
        return NeuronKind(
            self.provenance["model"],
            kind,
            words,
            self.query(f"SELECT count(*) {where}").rows[0][0],
            listed,
        )

    def card(self, name: str) -> NeuronCard:
        """A neuron as `loci read` shows it, from the tables.

        Raises `ModelError` for a neuron that is not there.
        """
        match = NEURON.fullmatch(name.strip())
        layer, neuron = (int(match[1]), int(match[3])) if match and match[2] is None else (-1, -1)
        condition = f"layer = {layer} AND neuron = {neuron}"
        facts = self._dicts(f"SELECT * FROM neurons WHERE {condition}")
        if not facts:
            last = f"L{self.provenance['layers'] - 1}N{self.provenance['d_mlp'] - 1}"
            raise ModelError(f"{name!r}: this atlas has L0N0 … {last}")
        values = self._dicts(
            f"SELECT side, token, score FROM values WHERE {condition} ORDER BY rank"
        )
        triggers = self._dicts(
            f"SELECT before, token, after, activation FROM triggers WHERE {condition} ORDER BY rank"
        )
        return NeuronCard(
            model=self.provenance["model"],
            bos=self.provenance["bos"],
            layer=layer,
            neuron=neuron,
            expert=None,
            promotes=tuple(
                (row["token"], row["score"]) for row in values if row["side"] == "promotes"
            ),
            suppresses=tuple(
                (row["token"], row["score"]) for row in values if row["side"] == "suppresses"
            ),
            **{
                name: facts[0][name]
                for name in ("cosine", "key_norm", "value_norm", "threshold", "firing_rate")
            },
            nearest=tuple(
                (neuron_name(layer, other), near)
                for other, near in zip(facts[0]["nearest"], facts[0]["nearest_cosine"], strict=True)
            ),
            triggers=tuple(Trigger(**row) for row in triggers),
            tokens=self.provenance["tokens"],
        )

    def _named(self, sql: str) -> tuple[dict[str, Any], ...]:
        return tuple(
            {"name": neuron_name(row["layer"], row["neuron"]), **row} for row in self._dicts(sql)
        )

    def _dicts(self, sql: str) -> list[dict[str, Any]]:
        answer = self.query(sql)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def _occurs(self, literal: str) -> bool:
        """Whether the word is in the tables at all, filters aside."""
        return bool(
            self.query(
                f"SELECT 1 FROM values WHERE word = {literal} UNION ALL SELECT 1 FROM triggers "
                f"WHERE word = {literal} LIMIT 1"
            ).rows
        )

    def _suggestion(self, word: str) -> str:
        words = [
            row[0]
            for row in self.query(
                "SELECT DISTINCT word FROM values UNION SELECT DISTINCT word FROM triggers"
            ).rows
        ]
        near = difflib.get_close_matches(word, words, n=3, cutoff=0.6)
        return f"; near it: {', '.join(near)}" if near else ""


def _filters(layer: int | None, cosine: tuple[float, float], rate: tuple[float, float]) -> str:
    """Bounds on the neurons `n`, in SQL."""
    bounds = [
        f"n.cosine BETWEEN {cosine[0]:f} AND {cosine[1]:f}",
        f"n.firing_rate BETWEEN {rate[0]:f} AND {rate[1]:f}",
    ]
    return " AND ".join(bounds + ([] if layer is None else [f"n.layer = {int(layer)}"]))


def _first(error: Exception) -> str:
    """The first line of DuckDB's message."""
    return str(error).splitlines()[0]
