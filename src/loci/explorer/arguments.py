"""The arguments of each verb of the explorer. Others are refused before a worker gets them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loci.errors import UseError
from loci.validate import one_line

Words = Annotated[str, Field(min_length=1, max_length=20_000)]
Short = Annotated[str, Field(min_length=1, max_length=2_000)]
Neuron = Annotated[str, Field(pattern=r"^L\d{1,4}N\d{1,7}$")]
Head = Annotated[str, Field(pattern=r"^L\d{1,4}H\d{1,4}$")]
PATCH_ID = r"^[0-9a-f]{12}$"
PatchId = Annotated[str, Field(pattern=PATCH_ID)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Place = Annotated[str, Field(min_length=1, max_length=1_000)]
Corruption = Literal["noise", "subject-noise", "fixed", "gaussian", "mean", "resample"]
MOST_PATCHES = 32


class Arguments(BaseModel):
    """The base of all: nothing but the fields that are named."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Arguments):
    """A verb that takes nothing."""


class AskArguments(Arguments):
    prompt: Words
    tokens: Annotated[int, Field(ge=1, le=200)] = 12
    top: Annotated[int, Field(ge=1, le=50)] = 10


class PromptArguments(Arguments):
    prompt: Words
    subject: Short | None = None
    answer: Short | None = None


class Grid(Arguments):
    """The tokens before `end`, or the last ones."""

    prompt: Words
    top: Annotated[int, Field(ge=1, le=20)] = 5
    end: Annotated[int, Field(ge=1, le=100_000)] | None = None


class LadderArguments(PromptArguments):
    against: Short | None = None
    top: Annotated[int, Field(ge=1, le=20)] = 5


class TraceArguments(PromptArguments):
    samples: Annotated[int, Field(ge=1, le=200)] = 10
    noise: Annotated[float, Field(gt=0, le=1e6)] = 3.0
    corruption: Corruption = "noise"
    window: Annotated[int, Field(ge=1, le=1_000)] = 1
    severed: bool = False
    seed: Seed = 0


class CellArguments(PromptArguments):
    """One MLP of one token, whose neurons are restored one at a time."""

    layer: Annotated[int, Field(ge=0, le=9_999)]
    token: Annotated[int, Field(ge=0, le=100_000)]
    samples: Annotated[int, Field(ge=1, le=200)] = 3
    noise: Annotated[float, Field(gt=0, le=1e6)] = 3.0
    corruption: Corruption = "noise"
    seed: Seed = 0


class Card(Arguments):
    neuron: Neuron
    tokens: Annotated[int, Field(ge=1, le=10**8)] = 30_000
    top: Annotated[int, Field(ge=1, le=100)] = 10


class NameArguments(Arguments):
    neuron: Neuron
    top: Annotated[int, Field(ge=1, le=100)] = 10


class Labelled(Arguments):
    """A neuron, beside the relations and answers of so many known facts."""

    neuron: Neuron
    facts: Annotated[int, Field(ge=20, le=10_000)] = 2_000
    top: Annotated[int, Field(ge=1, le=50)] = 6


class Fires(Arguments):
    """A neuron's activation at each token of a text."""

    neuron: Neuron
    text: Words


class Scaled(Arguments):
    """A neuron whose value is multiplied: 0 silences it, 2 doubles it."""

    neuron: Neuron
    factor: Annotated[float, Field(ge=-100, le=100)]


class Edited(Arguments):
    prompt: Words
    subject: Short | None = None
    answer: Short
    method: Literal["joint", "rome", "emmet", "memit", "alphaedit", "finetune"] | None = None
    seed: Seed = 0


class OfPatch(Arguments):
    patch: PatchId
    seed: Seed = 0


class Merged(Arguments):
    patches: Annotated[tuple[PatchId, ...], Field(min_length=2, max_length=MOST_PATCHES)]
    keep: Literal["first", "last"] | None = None


class WordArguments(Arguments):
    word: Short
    top: Annotated[int, Field(ge=1, le=200)] = 20


class Folders(Arguments):
    base: Place
    edited: Place | None = None
    seed: Seed = 0


class PatternArguments(Arguments):
    text: Words
    heads: Annotated[tuple[Head, ...], Field(max_length=64)] = ()


class Built(Arguments):
    """An atlas, built over so many tokens of background text."""

    tokens: Annotated[int, Field(ge=100, le=10**9)] = 20_000


class Sparse(Arguments):
    """Of each head of a layer, the keys that each query looks at most."""

    text: Words
    layer: Annotated[int, Field(ge=0, le=9_999)]
    most: Annotated[int, Field(ge=1, le=64)] = 12


class PairArguments(Arguments):
    """A head between a word that is looked at and one that looks."""

    head: Head
    source: Short
    destination: Short


class Toy(Arguments):
    """A toy model of superposition, trained from nothing."""

    features: Annotated[int, Field(ge=2, le=40)] = 5
    dims: Annotated[int, Field(ge=1, le=10)] = 2
    density: Annotated[float, Field(gt=0, le=1)] = 0.1
    importance: Annotated[float, Field(gt=0, le=1)] = 0.9
    relu: bool = True
    steps: Annotated[int, Field(ge=10, le=20_000)] = 2_000
    seed: Seed = 0


class PlantedArguments(Arguments):
    """A model whose facts have known places, and one of its facts."""

    kind: Literal["one-per-fact", "superposed"] = "one-per-fact"
    method: Short = "trace: MLP"
    fact: Annotated[int, Field(ge=0, le=10_000)] = 0
    subjects: Annotated[int, Field(ge=2, le=48)] = 12
    seed: Seed = 0


class FeatureArguments(Arguments):
    """A feature of one of the dictionaries that come with the embedded model."""

    layer: Annotated[int, Field(ge=0, le=9_999)]
    feature: Annotated[int, Field(ge=0, le=10**7)]
    tokens: Annotated[int, Field(ge=100, le=10**6)] = 5_000
    top: Annotated[int, Field(ge=1, le=100)] = 10


class LabelledFeature(Arguments):
    """A feature of such a dictionary, beside the relations and answers of so many known facts."""

    layer: Annotated[int, Field(ge=0, le=9_999)]
    feature: Annotated[int, Field(ge=0, le=10**7)]
    facts: Annotated[int, Field(ge=20, le=10_000)] = 2_000
    top: Annotated[int, Field(ge=1, le=50)] = 6


class GraphArguments(Arguments):
    prompt: Words
    answer: Short | None = None
    features: bool = False
    tested: Annotated[int, Field(ge=0, le=1_000)] = 24


class Angle(Arguments):
    dim: Annotated[int, Field(ge=2, le=10_000_000)] = 12_288
    angle: Annotated[float, Field(gt=0, lt=180)] = 89.0


class Sql(Arguments):
    sql: Annotated[str, Field(min_length=1, max_length=10_000)]


def parsed(kind: type[Arguments], given: Any) -> Any:
    """Arguments of a kind. Raises `UseError`, in one line, for anything else."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "arguments"
        raise UseError(one_line(f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}")) from None
