"""Reading of datasets: from a folder, zip, Parquet file, table or arrays to samples in a fixed order.

dataset.py    open_dataset, Dataset: the single entry point
samples.py    Samples: one split, with ids, labels, classes, groups and a fingerprint
rows.py       the rows a reader returns, before they are checked
splits.py     the checks common to all formats; carving out a validation set
data/readers/folder.py, data/readers/parquet.py, data/readers/arrays.py    one reader per format
data/readers/torchvision_files.py, data/readers/parquet_shards.py   MNIST and CIFAR on disk; several Parquet files
data/readers/metadata.py, data/readers/class_names.py         files beside the pictures with labels and class names
data/readers/archive.py    safe unpacking of a zip, into a store
data/storage/store.py      the pictures of an unpacked archive, packed in one file
data/storage/content.py    the storage and caching of inputs
data/storage/pictures.py   the only place where image files are decoded

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
