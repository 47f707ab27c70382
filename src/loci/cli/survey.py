"""loci survey: statistics of a model over a long text, in parts that any number of workers run."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import check_new, emit, note, status, written
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import BATCH_TOKENS, JSON, RAY, TEXT, TOKENS, Job, Kept, whole, words
from loci.cli.terminal import plain
from loci.cli.verbs import Verbs
from loci.errors import ModelError

if TYPE_CHECKING:
    from loci.survey.driver import Told
    from loci.survey.jobs import ShardShare
    from loci.survey.plan import Plan

app = Verbs(
    help="Statistics of a model over a long text: plan the pass, run it with many workers, merge.",
    no_args_is_help=True,
)
PLAN = Annotated[Path, typer.Argument(help="a plan, as `loci survey plan` writes it")]
STATES = Annotated[
    Path | None, typer.Option("--states", help="folder of the states; beside the plan by default")
]


KEEP = Annotated[
    Kept,
    typer.Option(
        help="second moments of neurons (for edits), an atlas's statistics, or the stream's"
    ),
]
LAYERS = Annotated[str | None, words("these layers alone, as 3,4,7-9", "--layers", kind="NUMBERS")]
TOKENS_ASKED = Annotated[int | None, whole("about so many tokens, in whole shards", high=TOKENS)]
SHARD_TOKENS = Annotated[
    int, whole("about so many tokens a shard: what a killed worker loses at most", high=TOKENS)
]
THREADS = Annotated[
    int, whole("of each worker; with others, sums differ in the last bits", high=1024)
]


@app.command("plan")
@opens("join", "layout")
def plan_(
    out: Annotated[Path | None, typer.Option("--out", "-o", help="the plan, .json")] = None,
    text: TEXT = None,
    keep: KEEP = "keys",
    layers: LAYERS = None,
    tokens: TOKENS_ASKED = None,
    shard_tokens: SHARD_TOKENS = 65_536,
    batch_tokens: Annotated[int, BATCH_TOKENS] = 4096,
    threads: THREADS = 1,
    *,
    opening: Opening,
    json: JSON = False,
) -> None:
    """Cut a text into shards, and say what a pass over it costs: tokens, FLOPs, bytes, seconds. No
    weights are loaded.

    Seconds are those of one worker, at the rate of matrix products that is measured here for a
    moment.

    Examples:

        loci survey plan --json

        loci survey plan -m ./llama --text wiki.jsonl --layers 4-8 -o pass.json
    """
    from loci.cli.layer_ranges import layers_from
    from loci.survey.plan import make_plan
    from loci.survey.question import keys_question, neurons_question, stream_question

    check_new(out, ".json")
    questions = {"keys": keys_question, "neurons": neurons_question, "stream": stream_question}
    with status("reading the text"):
        opened = opening.as_source()
        chosen = layers_from(layers, opened.open_weights().n_layers)
        made = make_plan(
            opened,
            questions[keep](chosen),
            text,
            limit=tokens,
            shard_tokens=shard_tokens,
            batch_tokens=batch_tokens,
            threads=threads,
        )
    if out is not None:
        made.write(out)
        written(out)
    document = {name: value for name, value in made.to_dict().items() if name != "pieces"}
    if json:
        emit(document)
    else:
        _show_plan(made)


WORKERS = Annotated[
    int, whole("processes, each with the model once", "--workers", "-w", low=0, high=1024)
]
SHARE = Annotated[
    str | None,
    words("one of N jobs without a driver: R/N, or env (torchrun, Slurm)", kind="R/N"),
]
METRICS_PORT = Annotated[
    int | None,
    whole("progress as Prometheus' text at this port of 127.0.0.1", low=0, high=65_535),
]
SCRIPT = Annotated[Job | None, typer.Option(help="print a job script for --workers jobs instead")]
OUT = Annotated[Path | None, typer.Option("--out", "-o", help="the whole state, .safetensors")]


@app.command("run")
def run(
    plan: PLAN,
    workers: WORKERS = 1,
    states: STATES = None,
    ray: RAY = None,
    share: SHARE = None,
    script: SCRIPT = None,
    metrics_port: METRICS_PORT = None,
    out: OUT = None,
    json: JSON = False,
) -> None:
    """Run what is missing of a plan. Stopped or killed at any moment, it goes on when called again,
    to the same bytes.

    A text that the tokenizer or the model cannot take is set aside with its place and the reason.

    Examples:

        loci survey run pass.json --workers 2

        loci survey run pass.json -w 8 -o moments.safetensors --json

        loci survey run pass.json --ray local -w 2

        loci survey run pass.json --script slurm -w 64 > job.sh
    """
    from loci.survey.driver import check_workers, run_plan
    from loci.survey.jobs import share_from, slurm_script, torchrun_script
    from loci.survey.metrics import served
    from loci.survey.plan import Plan
    from loci.survey.ray_pool import RayPool

    check_new(out, ".safetensors")
    read = Plan.read(plan)
    folder = states or plan.with_suffix(".states")
    if sum(option is not None for option in (ray, share, script)) > 1:
        raise ModelError("say one of --ray, --share and --script")
    if script is not None:
        check_workers(read, workers, here=False)
        typer.echo(
            {"slurm": slurm_script, "torchrun": torchrun_script}[script](
                read, plan, folder, workers
            ),
            nl=False,
        )
        return
    if share is not None:
        _run_share(read, folder, share_from(share), json)
        return
    with (
        served(read, metrics_port) if metrics_port is not None else nullcontext() as measure,
        status("starting workers") as say,
    ):
        check_workers(read, workers, here=ray is None)
        pool = None if ray is None else RayPool(ray, read, plan, folder, workers)

        def tell(told: "Told") -> None:
            say(_progress(read, told))
            if measure is not None:
                measure.tell(told)

        told = run_plan(read, plan, folder, workers, tell, pool)
    note(
        f"{told.tokens:,} tokens in {told.seconds:.1f} s ({told.rate:,.0f} a second); {told.deaths}"
        f" workers died, {told.damaged} states were damaged"
    )
    _finish(read, folder, out, json)


@app.command("merge")
def merge(
    plan: PLAN,
    folders: Annotated[
        list[Path], typer.Argument(help="folders of states, from wherever they were made")
    ],
    states: STATES = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="the whole state, .safetensors")
    ] = None,
    json: JSON = False,
) -> None:
    """Join the states of a plan that lie in several folders, as after a run on several machines.

    Example:

        loci survey merge pass.json node1.states node2.states -o moments.safetensors
    """
    from loci.survey.outcomes import merge_states
    from loci.survey.plan import Plan

    check_new(out, ".safetensors")
    read = Plan.read(plan)
    folder = states or plan.with_suffix(".states")
    with status("joining states"):
        merge_states(read, folders, folder)
    _finish(read, folder, out, json)


def _run_share(plan: "Plan", folder: Path, share: "ShardShare", json: bool) -> None:
    from loci.survey.jobs import run_share

    with status("opening the model") as say:
        tokens = run_share(
            plan,
            folder,
            share,
            lambda done, every, tokens: say(
                f"shard {done} of {every} of this job, {tokens:,} tokens"
            ),
        )
    if json:
        emit(
            {
                "schema": "loci.survey_share/1",
                "plan": plan.id,
                "rank": share.rank,
                "world": share.world,
                "tokens": tokens,
            }
        )
    else:
        console.print(f"{tokens:,} tokens read; states: {plain(folder)}")


def _finish(plan: "Plan", folder: Path, out: Path | None, json: bool) -> None:
    from loci.survey.outcomes import copy_state, outcome, summary

    about = summary(plan, outcome(plan, folder))
    if out is not None:
        copy_state(plan, folder, out)
        written(out)
    if json:
        emit(about)
        return
    console.print(
        f"{about['tokens']:,} tokens of {about['texts']:,} texts through {plain(about['model'])};"
        f" states: {plain(folder)}"
    )
    for one in about["set_aside"][:20]:
        console.print(plain(f"set aside: {one['place']}: {one['reason']}"))
    if len(about["set_aside"]) > 20:
        console.print(f"… and {len(about['set_aside']) - 20:,} more")


def _progress(plan: "Plan", told: "Told") -> str:
    from loci.survey.metrics import seconds_left

    done = 1 - told.shards_left / len(plan.pieces)
    shares = " ".join(
        f"{100 * share / max(1, told.tokens):.0f} %" for _, share in sorted(told.shares.items())
    )
    return (
        f"{done:.0%} of {plan.tokens:,} tokens, {told.rate:,.0f} a second,"
        f" {seconds_left(plan, told):,.0f} s left; workers: {shares}"
    )


def _show_plan(plan: "Plan") -> None:
    rows: list[tuple[str, Any]] = [
        ("tokens, about", f"{plan.tokens:,}"),
        ("shards", f"{len(plan.pieces):,}"),
        ("FLOPs", f"{plan.flops:.2e}"),
        ("a state", _size(plan.state_bytes)),
        ("on disk at a time", _size(plan.disk_bytes)),
        (
            "memory of a worker",
            f"{_size(plan.worker_bytes)}, of which {_size(plan.shared_bytes)} once a machine",
        ),
        (
            "time with one worker",
            f"{plan.seconds:,.0f} s" if plan.seconds < 3600 else f"{plan.seconds / 3600:,.1f} h",
        ),
    ]
    for name, value in rows:
        console.print(plain(f"{name:>22}  {value}"))


def _size(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
