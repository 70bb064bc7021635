"""The errors of this package, as one family of exceptions.

    InfluenceError
    ├── DataError          a dataset cannot be read, or would be read wrongly
    ├── UploadError        an upload cannot be kept, or is not this visitor's
    ├── ModelError         weights, architecture and classes do not fit together
    │   ├── UnsafeFileError    a file that could run code when opened; refused, never tried
    │   ├── SeveralSetsError   a file with several sets of weights, none of them chosen
    │   └── UnknownModelError  weights whose architecture, class order or preprocessing is said nowhere
    ├── LayerError         a module for which no per-sample gradient exists or is known
    ├── ObjectiveError     an objective that cannot be measured on these samples; others still can
    ├── DamagedError       a file that this package wrote cannot be read back; a ValueError too
    ├── RunError           a run folder is missing, unfinished, damaged or belongs to other inputs
    │   └── JobError           long work could not be started, found or stopped
    ├── DecisionError      a decision that cannot be written as requested
    ├── AccessError        this visitor's role does not allow the action
    ├── ExportError        decisions or a dataset cannot be exported
    └── Cancelled          the user stopped the work; not a fault

Every message says what was found, what was expected, where, and what to do next.
"""


class InfluenceError(Exception):
    """Base of every error this package raises on purpose; its text may be shown to users."""


class DataError(InfluenceError):
    """A dataset cannot be read, or would be read wrongly."""


class UploadError(InfluenceError):
    """An upload cannot be kept, is not there, or is not this visitor's."""


class ModelError(InfluenceError):
    """Weights, architecture and classes do not fit together."""


class UnsafeFileError(ModelError):
    """A file that could run code when opened. It was refused without being opened."""


class SeveralSetsError(ModelError):
    """A file holds several different sets of weights and none was chosen; `keys` are their names."""

    def __init__(self, message: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.keys = keys


class UnknownModelError(ModelError):
    """Architecture, class order or preprocessing of weights is said nowhere; `guesses` are of the architecture."""

    def __init__(self, message: str, guesses: tuple = ()) -> None:
        super().__init__(message)
        self.guesses = guesses


class LayerError(InfluenceError):
    """A module for which no per-sample gradient exists, or none that this package can compute."""


class ObjectiveError(InfluenceError):
    """An objective that cannot be measured on these samples. The rest of the run continues and reports it."""


class DamagedError(InfluenceError, ValueError):
    """A file that this package wrote is missing, cut, changed or not what it should be."""


class RunError(InfluenceError):
    """A run folder is missing, unfinished, damaged, or belongs to other inputs."""


class JobError(RunError):
    """Long work could not be started, found or stopped."""


class DecisionError(InfluenceError):
    """A decision that cannot be written as requested."""


class AccessError(InfluenceError):
    """This visitor's role does not allow the requested action."""


class ExportError(InfluenceError):
    """Decisions or a corrected dataset cannot be exported."""


class Cancelled(InfluenceError):
    """The user stopped the work. Not a fault: finished shards are kept."""
