"""The engine: exact per-sample gradient quantities of any supported model, in one sweep over the data."""

from influence_core.engine.one_direction.directional import Directional, directional, measured_directional
from influence_core.engine.oracle import per_sample_gradients
from influence_core.engine.result import Sweep
from influence_core.engine.sweep import sweep

__all__ = ["Directional", "Sweep", "directional", "measured_directional", "per_sample_gradients", "sweep"]
