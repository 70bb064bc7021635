"""Moments in UTC, as text that sorts by time."""

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """A moment as every file of ours writes it: UTC to the microsecond, with a Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def utc_now() -> str:
    """This moment."""
    return utc_text(datetime.now(UTC))
