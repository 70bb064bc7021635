"""Numbers, times and names as text on screen.

Numbers: three significant digits, a thin space between thousands, percentages with one decimal, intervals in brackets.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime

Markdown = str
"""A text that may be given to Streamlit's markdown: written in the source, or made plain by `escaped`. A test reads the
source of the pages and holds every function, argument and field of this type to it."""

THIN = "\u202f"
"""A narrow space that does not break: between thousands and before a unit."""
MINUS = "\u2212"


def count(value: float) -> str:
    """A whole number: 4000 -> '4 000' with a thin space."""
    return f"{round(value):,}".replace(",", THIN).replace("-", MINUS)


def number(value: float) -> str:
    """Three significant digits: 0.012345 -> '0.0123', 12345.6 -> '12 300', 1.2e-7 -> '1.20e-7'."""
    if not math.isfinite(value):
        return "none"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.2e}"))))
    if exponent < -4 or exponent > 8:
        mantissa, power = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(power)}".replace("-", MINUS)
    rounded = round(value, 2 - exponent)
    return f"{rounded:,.{max(0, 2 - exponent)}f}".replace(",", THIN).replace("-", MINUS)


def short(value: float) -> str:
    """Three significant digits without idle zeros: 30.0 -> '30', 0.5 -> '0.5'."""
    shown = number(value)
    return shown.rstrip("0").rstrip(".") if "." in shown and "e" not in shown else shown


def coefficient(value: float) -> str:
    """A correlation or another number between -1 and 1, with two decimals."""
    return f"{value:.2f}".replace("-", MINUS) if math.isfinite(value) else "none"


def size(content: float) -> str:
    """Bytes: '0 kB', '355 kB', '1.2 GB'."""
    unit, scale = next(
        ((unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6)) if content >= scale), ("kB", 1e3)
    )
    return f"{short(content / scale)}{THIN}{unit}"


def rate(a_second: float) -> str:
    """How fast work goes on: '950 a second', '3.62 a minute'."""
    for span, length in (("second", 1), ("minute", 60)):
        if a_second * length >= 1:
            return f"{short(a_second * length)} a {span}"
    return f"{short(a_second * 3600)} an hour"


def percent(share: float) -> str:
    """A share of one as a percentage with one decimal: 0.0995 -> '10.0 %'."""
    return f"{100 * share:.1f}{THIN}%".replace("-", MINUS)


def small_percent(share: float) -> str:
    """A percentage that never says 0.0 of something that is there: 0.0002 -> 'under 0.1 %'."""
    return percent(share) if share >= 0.0005 or share == 0 else f"under {percent(0.001)}"


def among(rank: float) -> str:
    """A rank among all samples, as the nearer end: 0.993 -> 'top 1 %', 0.2 -> 'lowest 20 %'."""
    top = rank >= 0.5
    return f"{'top' if top else 'lowest'} {max(1, round(100 * (1 - rank if top else rank)))}{THIN}%"


def interval(low: float, high: float) -> str:
    """A 95 % interval of a share, in brackets and percent: '[85.1, 95.0]'."""
    return f"[{100 * low:.1f}, {100 * high:.1f}]".replace("-", MINUS)


def duration(seconds: float) -> str:
    """A duration: '8 s', '1 min 20 s', '2 h 5 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def moment(stamp: str | float | None) -> str:
    """A recorded time as '22 Nov 2026, 08:30 UTC'; an empty text when there is none."""
    if stamp is None or stamp == "":
        return ""
    when = (
        datetime.fromtimestamp(stamp, UTC)
        if isinstance(stamp, int | float)
        else datetime.fromisoformat(stamp)
    )
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """'1 sample', '2 samples'."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def restyled(sentence: str) -> str:
    """A sentence of the engine, which writes 85% and 4,000, in the style of the screen; not for names from data."""
    spaced = re.sub(r"(?<=\d) ?%", f"{THIN}%", sentence)
    return re.sub(r"(?<=\d),(?=\d{3}\b)", THIN, spaced)


def escaped(text: object) -> Markdown:
    """A name or a value from a dataset, a file or a person, safe inside Streamlit's markdown: shown as it is.

    Backslashes stop what its parser reads. Addresses, emoji names and arrows are looked for after parsing, so an
    invisible joiner parts them. Invisible formatting marks, such as those that reverse the text, are shown as a
    replacement character.
    """
    return "".join(f"\\{letter}" if letter in _MARKDOWN else letter for letter in _parted(text))


def plain_sentence(text: object) -> Markdown:
    """A sentence or message that may name such things: as safe, with backslashes only where something could begin."""
    plain = "".join(f"\\{letter}" if letter in _BEGINNINGS else letter for letter in _parted(text))
    plain = re.sub(r":(?=[A-Za-z])", r"\:", plain)
    return _LINE_START.sub(r"\1\\\2", re.sub(r"^[ \t]+", "", plain, flags=re.MULTILINE)).replace("\n", "  \n")


def _parted(text: object) -> str:
    return _AFTER_PARSING.sub(lambda found: found[0] + JOINER, visible(str(text)))


def visible(text: str) -> str:
    """The text with every invisible formatting mark made visible."""
    return "".join("\ufffd" if unicodedata.category(letter) == "Cf" else letter for letter in text)


JOINER = "\u034f"
"""The combining grapheme joiner: it has no width and no look."""
_MARKDOWN = set("\\`*_{}[]<>()#+-.!|~$:^=\"'&")
_BEGINNINGS = set("\\`*_{}[]<>#|~$^&")
_LINE_START = re.compile(r"^(\d*)([-+=.)])", re.MULTILINE)
"""What begins a list, a line or a heading, at the start of a line alone."""
_AFTER_PARSING = re.compile(
    r":(?=//|[\w+/-]+:)|@|w(?=ww\.)|(?<!\S)[-<>~](?=(?:-|=|>|->)(?!\S))", re.IGNORECASE
)
"""Where addresses, `:emoji:` and arrows that stand alone begin; an option such as --label stays fit to be copied."""
