"""How much may one owner keep on this server, and for how long? Read from the environment at each question."""

import os

from influence_core.errors import UploadError


def quota() -> int:
    """Bytes that one owner may keep here: INFLUENCE_QUOTA_GB, or 5 GB."""
    return int(_number("INFLUENCE_QUOTA_GB", 5) * 1e9)


def keep_days() -> float:
    """Days after its last use that an upload is kept: INFLUENCE_KEEP_DAYS, or 30."""
    return _number("INFLUENCE_KEEP_DAYS", 30)


def _number(name: str, default: float) -> float:
    text = os.environ.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise UploadError(f"{name} is {text!r}; expected a number above 0, such as {default}.")
    return value
