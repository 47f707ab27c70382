"""The dictionaries that ship with the embedded model: `demo:mlp_out.3`, an autoencoder, and
`demo:mlp_out.1` and `demo:mlp_out.0`, transcoders of those MLPs.

Made by `python scripts/make_demo_dictionaries.py`; in half precision, 2 MB each.
"""

from importlib.resources import files
from pathlib import Path

from loci.errors import DictionaryError
from loci.validate import brief

PREFIX = "demo:"
FILES = {
    "mlp_out.3": "autoencoder.mlp_out.3.safetensors",
    "mlp_out.1": "transcoder.mlp_out.1.safetensors",
    "mlp_out.0": "transcoder.mlp_out.0.safetensors",
}


def embedded_path(name: str) -> Path:
    """The file of an embedded dictionary. Raises `DictionaryError` for another name."""
    file = FILES.get(name.removeprefix(PREFIX))
    if file is None:
        raise DictionaryError(
            f"there is no embedded dictionary {brief(name)}:"
            f" {', '.join(f'{PREFIX}{each}' for each in FILES)}"
        )
    return Path(str(files("loci.demo").joinpath("dictionaries", file)))
