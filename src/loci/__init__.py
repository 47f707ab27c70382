"""Loci finds, reads, writes, edits and audits the facts that a language model keeps in its weights.

One MLP block, one token vector x:

    Δx = W_down · act(W_up · x + b_up) + b_down        x ← x + Δx
         rows of W_up    = keys:   the patterns a neuron looks for
         columns of W_down = values: what it writes into the residual stream when it fires

A fact is a key that matches its subject and a value that points at its answer:

    model = loci.open("demo")
    fact  = loci.Fact("Michael Jordan", "{} plays the sport of", "basketball")
    grid  = loci.trace(model, fact)                  # where is it
    cells = loci.neurons(model, fact)                # which neurons hold it
    entry = loci.read(model, "L1N37")                # what does a neuron look for, what does it write
    patch = loci.edit(model, [fact.to("baseball")])  # change it: a value, the model is untouched
    card  = loci.audit(model, patch)                 # what did that change
    loci.plot(grid)

Names load when they are first used: `import loci` alone brings in neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loci.auditing import audit as audit
    from loci.auditing import recall as recall
    from loci.editing import edit as edit
    from loci.errors import LociError as LociError
    from loci.facts import Fact as Fact
    from loci.facts import FactSet as FactSet
    from loci.facts import known_facts as known_facts
    from loci.facts import load_facts as load_facts
    from loci.facts import save_facts as save_facts
    from loci.figures import plot as plot
    from loci.locating import lens as lens
    from loci.locating import locate as locate
    from loci.locating import lookup as lookup
    from loci.locating import neurons as neurons
    from loci.locating import probe as probe
    from loci.locating import trace as trace
    from loci.model import Layout as Layout
    from loci.model import Model as Model
    from loci.model import census as census
    from loci.model import examine as examine
    from loci.model import open_model
    from loci.model import open_weights as open_weights

    open = open_model
    from loci.patches import Patch as Patch
    from loci.patches import load_patch as load_patch
    from loci.reading import read as read

__version__ = "0.1.0"

_HOMES = {
    "Fact": "facts",
    "FactSet": "facts",
    "Layout": "model",
    "LociError": "errors",
    "Model": "model",
    "Patch": "patches",
    "audit": "auditing",
    "census": "model",
    "edit": "editing",
    "examine": "model",
    "known_facts": "facts",
    "lens": "locating",
    "locate": "locating",
    "lookup": "locating",
    "load_facts": "facts",
    "load_patch": "patches",
    "neurons": "locating",
    "open": "model",
    "open_weights": "model",
    "plot": "figures",
    "probe": "locating",
    "read": "reading",
    "recall": "auditing",
    "save_facts": "facts",
    "trace": "locating",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loci' has no attribute {name!r}")
    home = import_module(f"loci.{_HOMES[name]}")
    value = getattr(home, "open_model" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
