"""A plan as a JSON document."""

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval
from typing_extensions import TypedDict

from loci.model import Model
from loci.model.open import open_model, open_weights
from loci.model.weights import Weights

SCHEMA = "loci.survey_plan/1"
Count = Annotated[int, Interval(ge=0, le=10**30)]


class OpeningDocument(TypedDict):
    """How a plan's model is opened."""

    model: str
    device: str
    dtype: str
    bos: bool | None
    pickle: bool
    trust_remote_code: bool
    device_map: str | None


class PlanDocument(TypedDict):
    """A plan's file."""

    schema: str
    loci: str
    opening: OpeningDocument
    checkpoint: str
    text: str | None
    question: dict[str, Any]
    batch_tokens: Annotated[int, Interval(ge=1, le=10**9)]
    threads: Annotated[int, Interval(ge=1, le=1024)]
    pieces: list[list[Any]]
    tokens: Count
    flops: Count
    state_bytes: Count
    worker_bytes: Count
    shared_bytes: Count
    disk_bytes: Count
    shards: Count
    seconds: Annotated[float, Interval(ge=0, le=1e30)]
    weights: str | None


@dataclass(frozen=True)
class ModelSource:
    """Which model, and how every worker opens it."""

    model: str = "demo"
    device: str = "cpu"
    dtype: str = "float32"
    bos: bool | None = None
    pickle: bool = False
    trust_remote_code: bool = False
    device_map: str | None = None
    """ "disk" for weights that stay in their files; the numbers are the same."""

    def open(self) -> Model:
        return open_model(
            self.model,
            device=self.device,
            dtype=self.dtype,
            device_map=self.device_map,
            bos=self.bos,
            pickle=self.pickle,
            trust_remote_code=self.trust_remote_code,
        )

    def open_weights(self) -> Weights:
        """The weights where they lie: for shapes and the tokenizer."""
        return open_weights(self.model, dtype=self.dtype, trust_remote_code=self.trust_remote_code)
