"""Columns that number or name the rows instead of describing them. A model would learn the order of the file from them.

Evidence, each enough:

    called like an identifier (id, customer_no, UUID, index, no name at all), and nearly all cells different
    all different whole numbers so close together that as many draws from their range would repeat ten times or more
    (three times, where they are sorted), in the whole table or in each split: 0, 1, 2, ..., also shuffled or with gaps
    all different whole numbers of 12 digits or more, of one length, that are no time
    nearly all different words

A column whose name begins with KEPT is never one.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from influence_core.data.encoding import MOST_WORDS, column_of, holds_numbers, likeness, numbers_of
from influence_core.data.rows import counted

KEPT = "feature_"
"""How the name of a column begins that people want to learn from although it looks like an identifier."""
NUMBERING = frozenset(
    "index idx row rows rowid rownum rownames rownumber unnamed serial record recno seq sequence".split()
)
NAMING = frozenset(
    "id ids uuid guid key pk no nr number num ref hash sku ssn phone mobile barcode ean isbn imei iban vin mrn".split()
)
TIMES = frozenset("time date timestamp ts datetime epoch created updated year month day".split())
NEARLY = 0.9
"""Share of different cells from which a column is nearly unique."""
FEW = 20
"""Rows below which chance alone makes cells different."""
REPEATS = 10
"""Expected repeats, if the numbers were drawn: e^-10 is the probability of none."""
REPEATS_SORTED = 3
"""The same where the numbers also rise or fall from row to row, which is rare by itself."""
DIGITS = 12
MOST_CODES = 50
"""The most different numbers of an id that can still be a category, such as that of a shop."""


def identifying(cells: pd.DataFrame, splits: Sequence[object]) -> dict[str, str]:
    """Return the columns that number or name the rows, each with the sentence that says so."""
    parts = _parts(splits, len(cells))
    reasons = {str(name): _reason(str(name), column_of(cells, name), parts) for name in cells}
    return {name: _said(name, reason) for name, reason in reasons.items() if reason}


def _said(name: str, reason: str) -> str:
    kept = KEPT + re.sub(r"\W+", "_", name)
    return f"Column {name!r} was left out: {reason}. To learn from it, call it {kept}."


def _parts(splits: Sequence[object], rows: int) -> list[np.ndarray]:
    """Return the positions of the rows of each split; one part without splits."""
    codes, words = pd.factorize(pd.Series(list(splits), dtype=object))
    return [np.flatnonzero(codes == code) for code in range(len(words))] or [np.arange(rows)]


def _reason(name: str, values: pd.Series, parts: list[np.ndarray]) -> str | None:
    """Return why a column is no feature, None if it is one."""
    present = int(values.notna().sum())
    if name.lower().startswith(KEPT) or present < 2:
        return None
    tokens = _tokens(name)
    if not _is_whole(values):
        return _named_by_words(values, tokens)
    numbers = numbers_of(values)
    known = numbers[~np.isnan(numbers)]
    different = len(np.unique(known))
    if _numbers_rows(numbers, parts):
        return "it numbers the rows (whole numbers, all different, close together)"
    if set(tokens) <= NUMBERING and (different >= present / 2 or _counts(known)):
        return f"its name and {different:,} different whole numbers say that it numbers the rows"
    if tokens[-1] in NAMING and (different >= NEARLY * present or _is_id(tokens, different, present)):
        return f"its name and {different:,} different whole numbers say that it is an identifier"
    if different >= NEARLY * present and present >= FEW and _long(known) and not set(tokens) & TIMES:
        return (
            f"it holds {different:,} different whole numbers of {DIGITS} digits or more, like an identifier"
        )
    return None


def _is_whole(values: pd.Series) -> bool:
    if not holds_numbers(values):
        return False
    numbers = numbers_of(values)
    known = numbers[~np.isnan(numbers)]
    return bool(np.isfinite(known).all() and (known == np.floor(known)).all())


def _counts(known: np.ndarray) -> bool:
    """Whether numbers go up by one from row to row, perhaps from 0 again, as where tables were put together."""
    return len(known) >= FEW and float((np.diff(known) == 1).mean()) >= NEARLY


def _is_id(tokens: list[str], different: int, present: int) -> bool:
    """Whether cells called id repeat, but are too many for a category: those of patients, not of shops."""
    return (
        tokens[-1] in ("id", "ids", "uuid", "guid") and different > MOST_CODES and different >= 0.1 * present
    )


def _numbers_rows(numbers: np.ndarray, parts: list[np.ndarray]) -> bool:
    whole = np.arange(len(numbers))
    return _enumerates(numbers, whole) or (
        len(parts) > 1 and all(_enumerates(numbers, part) for part in parts)
    )


def _enumerates(numbers: np.ndarray, rows: np.ndarray) -> bool:
    """Whether these rows hold whole numbers that all differ though they lie close together."""
    chosen = numbers[rows]
    known = chosen[~np.isnan(chosen)]
    if len(known) < max(3, NEARLY * len(rows)):
        return False
    steps = np.diff(known)
    if len(known) == len(rows) and known[0] in (0, 1) and (steps == 1).all():
        return True
    if len(known) < FEW or len(np.unique(known)) < len(known):
        return False
    span = np.ptp(known) + 1
    sorted_rows = bool((steps > 0).all() or (steps < 0).all())
    repeats = len(known) ** 2 / (2 * span)
    return bool((steps == steps[0]).all()) or repeats >= (REPEATS_SORTED if sorted_rows else REPEATS)


def _long(known: np.ndarray) -> bool:
    """Whether all numbers have one length of DIGITS or more, and are no time in milli-, micro- or nanoseconds."""
    low, high = float(known.min()), float(known.max())
    if low < 10 ** (DIGITS - 1) or len(f"{low:.0f}") != len(f"{high:.0f}"):
        return False
    return not any(unit <= low and high < 2.1 * unit for unit in (1e12, 1e15, 1e18))


def _named_by_words(values: pd.Series, tokens: list[str]) -> str | None:
    """Return why a column of words names the rows: nearly each has its own. The encoding leaves out more words."""
    if holds_numbers(values):
        return None
    present, different = int(values.notna().sum()), int(values.nunique())
    if present < FEW or different > 2 * MOST_WORDS:
        return None
    if different < NEARLY * present:
        called = f"its name and {different:,} different words say that it is an identifier"
        return called if _is_id(tokens, different, present) else None
    return f"it holds {counted(different, 'different word')} in {counted(present, 'row')}, {likeness(values)}"


def _tokens(name: str) -> list[str]:
    """Return the words of a name in small letters: customerNo, CustomerNo and customer_no are customer, no."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    if name.startswith("__index_level_"):  # as pandas calls an index without a name in Parquet
        return ["index"]
    return [word for word in re.split(r"[\W_]+", parted.lower()) if word and not word.isdigit()] or [
        "unnamed"
    ]
