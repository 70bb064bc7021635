"""Data in: from a folder, zip, Parquet file or arrays of a person to samples in a fixed order.

dataset.py    open_dataset, Dataset: the one way in
samples.py    Samples: one split, with ids, labels, classes, groups and a fingerprint
rows.py       what a reader found, before it is checked
splits.py     the checks that hold for every format; carving out a validation set
folder.py, parquet.py, arrays.py    one reader per format
torchvision_layouts.py, shards.py   MNIST and CIFAR on disk; several Parquet files
metadata.py, class_names.py         what lies beside the pictures and says more about them
archive.py    safe unpacking of a zip
content.py    where inputs live and how they are cached
pictures.py   the only place where image files are decoded
"""

from influence_core.data.arrays import samples_from_arrays
from influence_core.data.dataset import Dataset, open_dataset
from influence_core.data.samples import Samples

__all__ = ["Dataset", "Samples", "open_dataset", "samples_from_arrays"]
