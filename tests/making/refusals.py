"""Asserts that a call is refused in words that help: `with assert_refused(DataError, "no label", "2.png"): ...`"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from influence_core.data import open_dataset
from influence_core.errors import DataError, InfluenceError


@contextmanager
def assert_refused(
    error: type[InfluenceError], *words: str
) -> Iterator[pytest.ExceptionInfo[InfluenceError]]:
    """What happens inside raises this error, and its message holds all the words."""
    with pytest.raises(error) as caught:
        yield caught
    for word in words:
        assert word in str(caught.value), f"{word!r} is missing from: {caught.value}"


def assert_dataset_refused(path: Path | str, *words: str, **options) -> str:
    """Opening a dataset is refused in a message that holds all the words; the message."""
    with assert_refused(DataError, *words) as caught:
        open_dataset(path, **options)
    return str(caught.value)
