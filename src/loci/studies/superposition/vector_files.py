"""Vectors to and from files of safetensors."""

from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from loci.errors import SuperpositionError
from loci.files import write_aside
from loci.model.stored import FLOATS
from loci.progress import Progress, silent
from loci.studies.superposition.weight_directions import SAMPLE, WeightAngles, space


def save_vectors(vectors: Float[Tensor, "vector dim"], path: str | Path) -> None:
    """Write vectors as rows of one tensor, `vectors`, in float32.

    Args:
        vectors: [vector, dim].
        path: a .safetensors file.

    Raises: `OutputError` where the file cannot be written.
    """
    with write_aside(path) as aside:
        save_file({"vectors": vectors.float().contiguous()}, aside)


def file_angles(
    path: str | Path,
    *,
    centre: bool = False,
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Progress = silent,
) -> WeightAngles:
    """`weight_angles` of the matrices of a safetensors file; each row is a direction.

    Args:
        path: the file.
        centre: subtract the mean first.
        sample: most vectors of a matrix, drawn by seed.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `WeightAngles`, one set a matrix.
    Raises: `SuperpositionError` for a file without matrices.
    """
    matrices = _matrices(Path(path))
    sets = []
    for name, matrix in matrices.items():
        sets.append(space(name, matrix, centre=centre, sample=sample, seed=seed))
        progress(1, len(matrices))
    return WeightAngles(Path(path).name, centre, seed, tuple(sets))


def _matrices(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SuperpositionError(f"{path}: no readable file of safetensors ({error})") from None
    matrices = {
        name: t
        for name, t in tensors.items()
        if t.ndim == 2 and len(t) > 1 and t.dtype in FLOATS.values()
    }
    if not matrices:
        raise SuperpositionError(
            f"{path}: no matrix of numbers in it; directions are rows of a matrix"
        )
    return matrices
