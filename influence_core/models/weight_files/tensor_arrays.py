"""Conversion of a file of tensors into an .npz of arrays, for the readers of data: a program of its own.

    python -m influence_core.models.weight_files.tensor_arrays SOURCE.pt TARGET.npz

It opens the file through the same doors as weights: first its bytes are judged, then a child in a jail reads it. A
refusal is one line on standard output, and no target is written.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from influence_core.errors import InfluenceError, UnsafeFileError
from influence_core.models.weight_files.quarantine import convert_arrays
from influence_core.models.weight_files.sniffing import file_kind
from influence_core.models.weight_files.weights import check_file, parse_tensors

RECIPE = (
    "Save the arrays where you trust the file: np.savez('data.npz', x_train=x.numpy(), y_train=y.numpy())."
)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a .pt file, and its lists of words, by name."""
    check_file(path)
    content = file_kind(path)
    if content.kind != "state dict":
        raise UnsafeFileError(f"{path.name} was refused: it is {content.text}. {RECIPE}")
    data, words = convert_arrays(path, RECIPE)
    tensors = parse_tensors(data, path)
    return {name: tensor.numpy() for name, tensor in tensors.items()} | {
        name: np.array(texts, dtype=str) for name, texts in words.items()
    }


def main(source: str, target: str) -> int:
    """Write the arrays of the source into the target; returns the exit code."""
    try:
        arrays = read_arrays(Path(source))
    except InfluenceError as error:
        print(" ".join(str(error).split()))
        return 1
    with zipfile.ZipFile(
        target, "w"
    ) as archive:  # np.savez has arguments of its own, which a tensor may be called
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, array, allow_pickle=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
