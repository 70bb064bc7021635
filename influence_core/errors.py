"""What can go wrong, as one family, so that callers choose their `except` at a glance.

    InfluenceError
    ├── DataError          a dataset cannot be read, or would be read wrongly
    ├── UploadError        an upload cannot be kept, or is not this visitor's
    ├── ModelError         weights, architecture and classes do not fit together
    │   └── UnsafeFileError    a file that could run code when opened; refused, never tried
    ├── LayerError         a module for which no per-sample gradient exists or is known
    ├── ObjectiveError     an objective that cannot be measured on these samples; the others still can
    ├── RunError           a run folder is missing, unfinished, damaged or belongs to other inputs
    │   └── JobError           long work could not be started, found or stopped
    ├── DecisionError      a decision that cannot be written as asked
    ├── AccessError        this visitor may not do that
    ├── ExportError        what was decided cannot be written out
    └── Cancelled          a person asked to stop; not a fault

Every message says what was found, what was expected, where, and what to do next.
"""


class InfluenceError(Exception):
    """Base of every error this package raises on purpose; its text is fit to be shown to a person."""


class DataError(InfluenceError):
    """A dataset cannot be read, or would be read wrongly."""


class UploadError(InfluenceError):
    """An upload cannot be kept, is not there, or is not this visitor's."""


class ModelError(InfluenceError):
    """Weights, architecture and classes do not fit together."""


class UnsafeFileError(ModelError):
    """A file that could run code when opened. It was refused without being opened."""


class LayerError(InfluenceError):
    """A module for which no per-sample gradient exists, or none that we know how to compute."""


class ObjectiveError(InfluenceError):
    """An objective that cannot be measured on these samples. The rest of a run goes on and says so."""


class RunError(InfluenceError):
    """A run folder is missing, unfinished, damaged, or belongs to other inputs."""


class JobError(RunError):
    """Long work could not be started, found or stopped."""


class DecisionError(InfluenceError):
    """A decision that cannot be written as asked."""


class AccessError(InfluenceError):
    """This visitor's role does not allow what was asked for."""


class ExportError(InfluenceError):
    """What was decided cannot be written out."""


class Cancelled(InfluenceError):
    """A person asked to stop. Not a fault: finished shards are kept."""
