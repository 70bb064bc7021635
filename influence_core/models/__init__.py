"""Safe opening of models: from a file of weights to a network with classes and preprocessing.

opened.py          open_model, OpenedModel, save_model, check_fits
architectures.py   build_network by name; small_networks.py has the built-in networks
preprocessing.py   Preprocessing: the input format of a network
model_json.py            model.json
models/weight_files/weights.py         the only reader of weight files in the main process (safetensors)
models/weight_files/safetensors_header.py   the check of such a file's header before it is read
guess.py           guesses the architecture of weights
models/weight_files/sniffing.py        the kind of a file, judged by its bytes
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
