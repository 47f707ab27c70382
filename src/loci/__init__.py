"""Loci finds, reads, writes, edits and audits the facts that a language model keeps in its weights.

One MLP block, one token vector x:

    Δx = W_down · act(W_up · x + b_up) + b_down        x ← x + Δx
         rows of W_up    = keys:   the patterns a neuron looks for
         columns of W_down = values: what it writes into the residual stream when it fires

A fact is a key that matches its subject and a value that points at its answer:

    model = loci.open("demo")
    fact  = loci.Fact("Michael Jordan", "{} plays the sport of", "basketball")
    grid  = loci.trace(model, fact)                  # where is it
    cells = loci.neuron_attribution(model, fact)     # which neurons hold it
    entry = loci.read(model, "L1N126")               # what a neuron looks for and writes
    patch = loci.edit(model, fact.to("baseball"))    # change it: a value, the model is untouched
    card  = loci.audit(model, patch)                 # what did that change
    grid.plot(); grid.save("grid.html"); grid.to_frame()

Every verb of the command line has its function here under the same name; those of its groups stand
in rooms: `loci.circuits`, `loci.writing`, `loci.patches`, `loci.studies`. Names load when they are
first used: `import loci` alone brings in neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loci.deprecated import renamed
from loci.version import VERSION

if TYPE_CHECKING:
    from loci.auditing import ask as ask
    from loci.auditing import audit as audit
    from loci.auditing import audit_method as audit_method
    from loci.auditing import counterfactuals as counterfactuals
    from loci.auditing import discover as discover
    from loci.auditing import gone as gone
    from loci.auditing import recall as recall
    from loci.auditing import sweep as sweep
    from loci.auditing.forensics import forensics as forensics
    from loci.editing.edit import edit as edit
    from loci.errors import LociError as LociError
    from loci.explorer import explore as explore
    from loci.facts import Fact as Fact
    from loci.facts import FactSet as FactSet
    from loci.facts import known_facts as known_facts
    from loci.facts import load_facts as load_facts
    from loci.facts import save_facts as save_facts
    from loci.figures import plot as plot
    from loci.locating import attribute as attribute
    from loci.locating import average_trace as average_trace
    from loci.locating import entity_neurons as entity_neurons
    from loci.locating import knowledge_neurons as knowledge_neurons
    from loci.locating import lens as lens
    from loci.locating import locate as locate
    from loci.locating import lookup as lookup
    from loci.locating import neuron_attribution as neuron_attribution
    from loci.locating import probe as probe
    from loci.locating import routes as routes
    from loci.locating import trace as trace
    from loci.locating import trace_neurons as trace_neurons
    from loci.model import Layout as Layout
    from loci.model import Model as Model
    from loci.model import census as census
    from loci.model import doctor as doctor
    from loci.model import open_model
    from loci.model import open_weights as open_weights
    from loci.patches import Patch as Patch
    from loci.patches import load_patch as load_patch
    from loci.patches import merge as merge
    from loci.reading import build_atlas as build_atlas
    from loci.reading import clusters as clusters
    from loci.reading import concept
    from loci.reading import directions as directions
    from loci.reading import memories as memories
    from loci.reading import open_atlas as open_atlas
    from loci.reading import read as read
    from loci.reading import sparsity as sparsity
    from loci.reading import sub_updates as sub_updates
    from loci.result import Result as Result

    concepts, open = concept, open_model

__version__ = VERSION

_HOMES = {
    "Fact": "facts",
    "FactSet": "facts",
    "Layout": "model",
    "LociError": "errors",
    "Model": "model",
    "Patch": "patches",
    "Result": "result",
    "ask": "auditing",
    "attribute": "locating",
    "audit": "auditing",
    "audit_method": "auditing",
    "average_trace": "locating",
    "build_atlas": "reading",
    "census": "model",
    "clusters": "reading",
    "concepts": "reading:concept",
    "counterfactuals": "auditing",
    "directions": "reading:directions",
    "discover": "auditing",
    "doctor": "model",
    "edit": "editing.edit",
    "entity_neurons": "locating",
    "explore": "explorer",
    "forensics": "auditing.forensics:forensics",
    "gone": "auditing",
    "knowledge_neurons": "locating",
    "known_facts": "facts",
    "lens": "locating",
    "load_facts": "facts",
    "load_patch": "patches",
    "locate": "locating",
    "lookup": "locating",
    "memories": "reading",
    "merge": "patches",
    "neuron_attribution": "locating",
    "open": "model:open_model",
    "open_atlas": "reading",
    "open_weights": "model",
    "plot": "figures",
    "probe": "locating",
    "read": "reading",
    "recall": "auditing",
    "routes": "locating",
    "save_facts": "facts",
    "sparsity": "reading:sparsity",
    "sub_updates": "reading",
    "sweep": "auditing",
    "trace": "locating",
    "trace_neurons": "locating",
}
"""Where each name lives: a room, and after a colon its name there, where that differs."""
_ROOMS = (
    "auditing", "circuits", "dictionaries", "editing", "explorer", "facts", "figures", "locating",
    "model", "patches", "reading", "report", "studies",
    "survey", "text", "writing",
)  # fmt: skip
__all__ = list(_HOMES)


def _loaded(name: str) -> Any:
    """A public name, from where it lives."""
    if name in (*_ROOMS, "superposition"):  # its old place, which warns
        return import_module(f"loci.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'loci' has no attribute {name!r}")
    room, _, there = _HOMES[name].partition(":")
    value = getattr(import_module(f"loci.{room}"), there or name)
    globals()[name] = value
    return value


__getattr__ = renamed(
    __name__, {"examine": "doctor", "neurons": "neuron_attribution"}, otherwise=_loaded
)


def __dir__() -> list[str]:
    """The public names alone: what Tab shows."""
    return sorted([*_HOMES, *_ROOMS, "__version__"])
