"""Libraries that say nothing while Loci opens a model."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and warnings from transformers and the hub in the block; what was set before
    is set again after it.
    """
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as hf

    accelerate = logging.getLogger("accelerate")
    bars, level, hub_level, accelerate_level = (
        hf.is_progress_bar_enabled(),
        hf.get_verbosity(),
        hub.get_verbosity(),
        accelerate.level,
    )
    hf.disable_progress_bar()
    hf.set_verbosity_error()
    hub.set_verbosity_error()
    accelerate.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hf.set_verbosity(level)
        hub.set_verbosity(hub_level)
        accelerate.setLevel(accelerate_level)
        if bars:
            hf.enable_progress_bar()
