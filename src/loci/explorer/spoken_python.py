"""A question of the page as a line of Python."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loci.explorer import arguments as takes
from loci.explorer.settings import Settings
from loci.explorer.spoken import WITHOUT, asked_fact, opened_as


def _fact(args: takes.PromptArguments) -> str:
    """A fact itself, where a prompt will not do."""
    said = asked_fact(args)
    return said if said.startswith("loci.") else f"loci.model.fact_from(model, {said})"


def _keywords(args: Any, *names: str) -> str:
    kind = type(args)
    return "".join(
        f", {name}={getattr(args, name)!r}"
        for name in names
        if getattr(args, name) != kind.model_fields[name].default
    )


OWN = "loci.explorer"
"""Where the page's own measures stand; a module of it has to be imported by name."""
PYTHON: Mapping[str, Callable[[Any], str]] = {
    "ask": lambda a: f"loci.ask(model, {a.prompt!r}, tokens={a.tokens}, top={a.top})",
    "lens": lambda a: f"loci.lens(model, {a.prompt!r}{_keywords(a, 'answer', 'against', 'top')})",
    "trace": lambda a: (
        "loci.trace(model,"
        f" {asked_fact(a)}{_keywords(a, 'samples', 'noise', 'corruption', 'window', 'seed')})"
    ),
    "neurons": lambda a: f"loci.neuron_attribution(model, {asked_fact(a)})",
    "trace_neurons": lambda a: (
        f"loci.trace_neurons(model, {asked_fact(a)}, {a.layer}, {a.token},"
        f" samples={a.samples}{_keywords(a, 'noise', 'corruption', 'seed')})"
    ),
    "read": lambda a: (
        f"loci.read(model, {a.neuron!r}, loci.text.sample_text(model,"
        f" {a.tokens}){_keywords(a, 'top')})"
    ),
    "edit": lambda a: (
        f"loci.edit(model, loci.Fact.from_text({a.prompt!r}, {a.subject!r},"
        f" '?').to({a.answer!r}){_keywords(a, 'method', 'seed')})"
    ),
    "audit": lambda a: (
        f"loci.audit(model, loci.load_patch('{a.patch}.safetensors'),"
        f" loci.known_facts(){_keywords(a, 'seed')})"
    ),
    "merge": lambda a: (
        "loci.merge(["
        + ", ".join(f"loci.load_patch('{one}.safetensors')" for one in a.patches)
        + f"]{_keywords(a, 'keep')}, model=model)"
    ),
    "attention": lambda a: f"loci.circuits.patterns(model, {a.text!r}, {list(a.heads)!r})",
    "heads": lambda a: "loci.circuits.head_scores(model)",
    "card": lambda a: f"loci.reading.read_weights(model, {a.neuron!r}, top={a.top})",
    "fact_circuit": lambda a: f"loci.circuits.fact_circuit(model, {_fact(a)})",
    "compose": lambda a: "loci.circuits.compose(model)",
    "pair": lambda a: (
        f"loci.circuits.token_pair(model, {a.head!r}, {' ' + a.source.strip()!r},"
        f" {' ' + a.destination.strip()!r})"
    ),
    "feature": lambda a: (
        f"loci.dictionaries.read_features(model, loci.dictionaries.load_dictionary("
        f"'demo:mlp_out.{a.layer}'), [{a.feature}], loci.text.sample_text(model,"
        f" {a.tokens}){_keywords(a, 'top')})[0]"
    ),
    "graph": lambda a: (
        f"loci.dictionaries.attribution_graph(model, {a.prompt!r}{_keywords(a, 'answer', 'tested')}"
        + (
            ", transcoders={1: loci.dictionaries.load_dictionary('demo:mlp_out.1')})"
            if a.features
            else ")"
        )
    ),
    "toy": lambda a: (
        f"loci.studies.superposition.toy({a.features}, {a.dims}, [{a.density}],"
        f" importance={a.importance}, relu={a.relu}, steps={a.steps}, seed={a.seed})"
    ),
    "planted": lambda a: (
        f"loci.auditing.score_locators(loci.writing.planted({a.kind!r}, subjects={a.subjects},"
        f" neurons={a.subjects}, seed={a.seed}))"
    ),
    "lens_grid": lambda a: (
        f"{OWN}.measures.lens_grid(model, {a.prompt!r}, {a.top}{_keywords(a, 'end')})"
    ),
    "firing": lambda a: f"{OWN}.measures.firing(model, {a.neuron!r}, {a.text!r})",
    "histogram": lambda a: (
        f"{OWN}.measures.histogram(model, {a.neuron!r}, loci.text.sample_text(model, {a.tokens}))"
    ),
    "promoting": lambda a: f"{OWN}.measures.promoting(model, {a.word!r}, {a.top})",
    "attention_top": lambda a: (
        f"{OWN}.measures.attention_top(model, {a.text!r}, {a.layer}, {a.most})"
    ),
    "labels": lambda a: f"{OWN}.labels.neuron_labels(model, {a.neuron!r}, {a.facts}, {a.top})",
    "feature_labels": lambda a: (
        f"{OWN}.labels.feature_labels(model, loci.dictionaries.load_dictionary("
        f"'demo:mlp_out.{a.layer}'), {a.feature}, {a.facts}, {a.top})"
    ),
    "bounds": lambda a: f"loci.studies.superposition.bounds({a.dim}, {a.angle})",
    "find": lambda a: f"loci.open_atlas('atlas').find({a.word!r}, top={a.top})",
    "sql": lambda a: f"loci.open_atlas('atlas').query({a.sql!r})",
}


def python(verb: str, args: Any, patches: Sequence[str], settings: Settings) -> str | None:
    """Lines of Python that give the same; None where the library has no such function."""
    if verb not in PYTHON:
        return None
    opening = "".join(
        f", {name}={value!r}" for name, value in opened_as(settings).items() if name != "layout"
    )
    said = PYTHON[verb](args)
    module = said.partition("(")[0].rpartition(".")[0] if said.startswith(OWN) else "loci"
    lines = [f"import {module}", "", f"model = loci.open({settings.model!r}{opening})"]
    call = f"result = {said}"
    if not patches or verb in WITHOUT:
        return "\n".join([*lines, call, ""])
    loads = [f"loci.load_patch('{one}.safetensors')" for one in patches]
    patch = (
        loads[0]
        if len(loads) == 1
        else f"loci.merge([{', '.join(loads)}], keep='last', model=model)"
    )
    lines.append(f"patch = {patch}")
    if verb == "ask":  # which says whose answers they are
        return "\n".join([*lines, f"{call[:-1]}, patch=patch)", ""])
    return "\n".join([*lines, "with patch.applied(model):", f"    {call}", ""])
