"""Times in UTC, as text that sorts by time."""

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """Return a time in the format of all our files: UTC to the microsecond, with a Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def utc_now() -> str:
    """Return the current time."""
    return utc_text(datetime.now(UTC))


def is_time(text: str) -> bool:
    """Whether a text is a time that can be read."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
