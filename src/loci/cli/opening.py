"""The options by which every verb opens its model: the fields of `Opening` are the options."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import note, status
from loci.cli.options import DeviceMap, Dtype, Join, device_said, words

if TYPE_CHECKING:
    from loci.model import Layout, Model, Weights
    from loci.survey import ModelSource, Workers

PANEL = "Model"


@dataclass(frozen=True)
class Opening:
    """Which model, and how."""

    model: Annotated[
        str,
        words(
            "`demo`, a folder, or a hub id", "--model", "-m", kind="MODEL", rich_help_panel=PANEL
        ),
    ] = "demo"
    device: Annotated[
        str,
        words(
            "where to run: cpu, cuda, cuda:1, mps",
            kind="DEVICE",
            rich_help_panel=PANEL,
            callback=device_said,
        ),
    ] = "cpu"
    dtype: Annotated[
        Dtype,
        typer.Option(help="what the weights are held in; auto: as stored", rich_help_panel=PANEL),
    ] = "float32"
    device_map: Annotated[
        DeviceMap | None,
        typer.Option(help="spread it over devices, memory and disk", rich_help_panel=PANEL),
    ] = None
    bos: Annotated[
        bool | None,
        typer.Option(
            "--bos/--no-bos",
            help="a BOS before every text; by default where the tokenizer defines one",
            rich_help_panel=PANEL,
        ),
    ] = None
    join: Annotated[
        Join | None,
        typer.Option(
            help="what stands before an answer; found out by default", rich_help_panel=PANEL
        ),
    ] = None
    layout: Annotated[
        Path | None,
        typer.Option(
            help="where the parts are, for an unknown family: JSON of loci.Layout",
            rich_help_panel=PANEL,
        ),
    ] = None
    pickle: Annotated[
        bool,
        typer.Option(
            "--pickle", help="load pickled weights, which you trust", rich_help_panel=PANEL
        ),
    ] = False
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="run the checkpoint's own code, which you trust",
            rich_help_panel=PANEL,
        ),
    ] = False

    def open(self) -> "Model":
        from loci.model import open_model

        how = self.how
        if self.device_map is None and self.device == "cpu" and self._larger_than_memory():
            how["device_map"] = "disk"
            note(
                f"{self.model} is larger than the free memory: its weights stay in their files"
                " (--device-map disk), and each is read when it is used"
            )
        with status(f"opening {self.model}"):
            return open_model(self.model, layout=layout_from(self.layout), **how)

    def _larger_than_memory(self) -> bool:
        """Whether the weights, held in the precision asked for, do not fit into what is free."""
        from loci.model.sources import held_bytes
        from loci.survey.costs import free_bytes

        free, needed = free_bytes(), held_bytes(self.model, self.dtype)
        return free is not None and needed is not None and needed > free

    @property
    def how(self) -> dict[str, Any]:
        """The arguments of `open_model` beside the model and its layout."""
        names = ("device", "dtype", "device_map", "bos", "join", "pickle", "trust_remote_code")
        return {name: getattr(self, name) for name in names}

    def workers(self, count: int | None, ray: str | None = None) -> "Workers | None":
        """So many processes, or actors of Ray, that open the same model; None where none are asked
        for. Raises `ModelError` for what they cannot.
        """
        from loci.errors import ModelError
        from loci.survey.driver import check_count
        from loci.survey.gathering import Workers

        if count is None and ray is None:
            return None
        count = 1 if count is None else count
        check_count(count)
        for name in ("layout", "join"):
            if getattr(self, name) is not None:
                raise ModelError(
                    f"--workers with --{name}: workers open the model without it; leave one of the"
                    " two out"
                )
        return Workers(count, self.as_source(), ray=ray)

    def as_source(self) -> "ModelSource":
        """The same for workers. Raises `ModelError` for what they cannot."""
        from loci.errors import ModelError
        from loci.survey.plan_document import ModelSource

        if self.device_map not in (None, "disk"):
            raise ModelError(
                f"--device-map {self.device_map}: workers have the model each on one device, or in"
                " its files (--device-map disk)"
            )
        names = [field.name for field in fields(ModelSource)]
        return ModelSource(**{name: getattr(self, name) for name in names})

    def open_weights(self) -> "Weights":
        """The weights alone, read where they lie."""
        from loci.model import open_weights

        return open_weights(
            self.model,
            dtype=self.dtype,
            layout=layout_from(self.layout),
            trust_remote_code=self.trust_remote_code,
        )


def opens(*without: str, **defaults: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of `Opening`, without some or with other defaults where they are
    said, in the place of its parameter `opening`.
    """

    def with_options(verb: Callable[..., None]) -> Callable[..., None]:
        names = [field.name for field in fields(Opening) if field.name not in without]

        @wraps(verb)
        def run(**given: Any) -> None:
            opening = Opening(**{name: given.pop(name) for name in names})
            verb(opening=opening, **given)

        signature = inspect.signature(verb)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            if parameter.name != "opening":
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
                continue
            for option in (inspect.signature(Opening).parameters[name] for name in names):
                default = defaults.get(option.name, option.default)
                parameters.append(option.replace(kind=parameter.KEYWORD_ONLY, default=default))
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return with_options


def layout_from(path: Path | None) -> "Layout | None":
    """The layout that a JSON file says."""
    from loci.model.layouts import read_layout

    return None if path is None else read_layout(path)
