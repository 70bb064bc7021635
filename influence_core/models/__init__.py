"""Models in: from a file of weights to a network with classes and preprocessing, safely.

opened.py          open_model, OpenedModel, save_model, check_fits
architectures.py   build_network by name; small_networks.py holds the built-in networks
preprocessing.py   Preprocessing: what a network expects of a picture
model_json.py            model.json
models/weight_files/weights.py         the only reader of weight files in the main process (safetensors)
models/weight_files/safetensors_header.py   what such a file says about itself, checked before it is read
guess.py           which architecture do these weights belong to?
models/weight_files/sniffing.py        what a file really is, judged by its bytes
quarantine.py      reads a pickled state dict in a child process, which is unpickle.py
"""

from influence_core.models.architectures import architectures, build_network
from influence_core.models.opened import OpenedModel, check_fits, open_model, save_model
from influence_core.models.preprocessing import Preprocessing, table_preprocessing

__all__ = [
    "OpenedModel",
    "Preprocessing",
    "architectures",
    "build_network",
    "check_fits",
    "open_model",
    "save_model",
    "table_preprocessing",
]
