"""A disk that takes no more, told apart from other errors, whatever library met it.

Each library says it in its own way: OSError with a number, safetensors and SQLite in words, NumPy and torch by what
they could not write.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|os error (28|122|27)\b|\[Errno (28|122|27)\]"
    r"|database or disk is full|\d+ requested and \d+ written|PytorchStreamWriter failed writing"
    r"|No usable temporary directory|unexpected pos \d+ vs \d+"
)
_LONGEST = 10
"""Causes of an error that are followed."""


def sentence(error: BaseException, folder: Path) -> str | None:
    """What to tell a person when the disk of a folder is full, or a limit on its files is reached; None otherwise."""
    if not any(map(_is_full, _causes(error))):
        return None
    place = next((path for path in (folder, *folder.resolve().parents) if path.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free / 1e6
    return (
        f"The disk of {folder} is full, or a quota or a limit on the size of files is reached: {free:,.0f} MB are free "
        f"on it, and more is needed. Free some space, then resume: what is finished is kept."
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    return _WORDS.search(str(error)) is not None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and those it came from."""
    cause: BaseException | None = error
    for _ in range(_LONGEST):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__
