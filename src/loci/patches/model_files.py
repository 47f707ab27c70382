"""A model and its tokenizer written in Hugging Face form."""

from pathlib import Path

from safetensors import SafetensorError

from loci.errors import OutputError
from loci.model import Model, quiet


def save_model(model: Model, folder: Path) -> None:
    """A model and its tokenizer in Hugging Face form, quietly, into a folder that may be there.
    Raises `OutputError`.
    """
    write = model.hf.save_pretrained
    assert callable(write)
    try:
        with quiet():
            write(folder)
            model.tokenizer.save_pretrained(folder)
    except Exception as error:
        if isinstance(error, SafetensorError) or "os error" in str(
            error
        ):  # Rust's words; tokenizers has no class for them
            raise OutputError(f"{folder.name}: the model cannot be written ({error})") from error
        raise
