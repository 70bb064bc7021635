"""Reading of datasets: from a folder, zip, Parquet file, table or arrays to samples in a fixed order.

open_dataset (dataset.py) is the single entry point. A reader, one file per format in readers/, returns rows (rows.py);
splits.py checks and divides them into Samples, whose inputs lie in storage/.

Names are imported on first use: a page that needs data/storage/pictures.py alone does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from influence_core.data.dataset import Dataset, open_dataset
    from influence_core.data.readers.arrays import samples_from_arrays
    from influence_core.data.samples import Samples

_HOMES = {
    "Dataset": "dataset",
    "Samples": "samples",
    "open_dataset": "dataset",
    "samples_from_arrays": "readers.arrays",
}

__all__ = ["Dataset", "Samples", "open_dataset", "samples_from_arrays"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'influence_core.data' has no attribute '{name}'")
    return getattr(import_module(f"influence_core.data.{_HOMES[name]}"), name)
