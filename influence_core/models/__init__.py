"""Safe opening of models: from a file of weights to a network with classes and preprocessing.

open_model (opened.py) is the single entry point. weight_files/ reads the tensors, architectures.py builds the network,
model_json.py has the class order and preprocessing; guess.py proposes an architecture where none is known.
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
