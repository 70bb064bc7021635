"""Memory that is used up, told apart from other errors: torch says it with a RuntimeError, in words."""

import errno

_WORDS = ("can't allocate memory", "not enough memory", "out of memory")
"""torch on a CPU of Linux and macOS, on one of Windows, and on a GPU."""


def is_cause(error: BaseException) -> bool:
    """Whether memory ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
