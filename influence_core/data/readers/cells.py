"""Types of a table's cells, decided by the whole column: numbers, words, true and false, or missing.

    numbers      every cell is a number, is empty, or is a usual word for a missing value, which is said
    spelled      every cell is a number as people write it: 50,000 or 1.234,5 or 12 % or $3; said (`spelled_numbers.py`)
    words        all other columns, as written: "NA" and "None" stay words

An empty cell is missing. Columns that already have a type, as in Parquet, keep it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from influence_core.data.encoding import MOST_WORDS, column_of
from influence_core.data.readers.spelled_numbers import PLAIN, Spelling, chosen, point_of, spellings
from influence_core.data.rows import some

MISSING_WORDS = frozenset(
    "na n/a nan -nan null none <na> #n/a #na #null! #div/0! #value! #ref! #num! nil missing (missing) ? - -- . .. "
    "\u2013 \u2014".split()
)
"""Words that count as missing among numbers, in small letters; in a column of words they stay words."""
WHOLE = re.compile(r"\s*[+-]?\d{1,19}\s*")
LARGEST_WHOLE = 2**63 - 1
TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True)
class _Text:
    """A column of text: the number of its word for each cell (-1: empty), its words, and those that say missing."""

    name: str
    codes: np.ndarray
    words: tuple[str, ...]
    missing: frozenset[int]

    @property
    def said(self) -> list[str]:
        """The words that are not missing."""
        return [word for number, word in enumerate(self.words) if number not in self.missing]

    def counted(self, numbers: frozenset[int]) -> str:
        """Return words with their counts: '?' (12)."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.words))
        return some([f"{self.words[number]!r} ({counts[number]:,})" for number in sorted(numbers)])


def typed(
    frame: pd.DataFrame, separator: str | None = None, *, as_read: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns of text as numbers where they hold them, with notes on every cell not read as written.

    `separator` is that of the file, which tells how numbers are written where the columns do not. `as_read` is for
    files that tell text from numbers themselves: there, digits that were text stay words, unless nothing could be
    learnt from so many.
    """
    columns = {str(name): column_of(frame, name) for name in frame}
    texts = {name: _text(name, values) for name, values in columns.items() if is_text(values)}
    kept_as_text = {
        name: as_read and len(text.words) <= MOST_WORDS and all(map(PLAIN.fullmatch, text.said))
        for name, text in texts.items()
    }
    fits = {name: [] if kept_as_text[name] else spellings(text.said) for name, text in texts.items()}
    points = {name: point_of(texts[name].said, spelled) for name, spelled in fits.items() if spelled}
    taken = {
        name: chosen(spelled, {points[other] for other in points if other != name}, separator)
        for name, spelled in fits.items()
    }
    read = {
        name: values
        if name not in texts or (as_read and taken[name] is None)
        else _converted(texts[name], taken[name])
        for name, values in columns.items()
    }
    notes = [*_spelling_notes(texts, taken), *_doubtful(texts, fits, taken), *_missing_notes(texts, taken)]
    notes += _padded(texts, taken)
    return pd.DataFrame(read, index=frame.index), tuple(notes)


def is_text(values: pd.Series) -> bool:
    """Whether a column holds text (or nothing), not numbers, truths or dates."""
    if isinstance(values.dtype, pd.StringDtype):
        return True
    present = values.dropna() if values.dtype == object else []
    return len(present) > 0 and all(isinstance(value, str) for value in present)


def _text(name: str, values: pd.Series) -> _Text:
    codes, words = pd.factorize(values.str.lstrip())
    listed = tuple(map(str, np.asarray(words, dtype=object)))
    blank = [number for number, word in enumerate(listed) if not word.strip()]
    if blank:
        codes = np.where(np.isin(codes, blank), -1, codes)
    none = frozenset(number for number, word in enumerate(listed) if word.strip().lower() in MISSING_WORDS)
    return _Text(name, codes, listed, none | frozenset(blank))


def _converted(text: _Text, spelling: Spelling | None) -> pd.Series:
    """Return the cells as numbers in this spelling, else as truths or words."""
    if spelling is None:
        return _as_words(text)
    if not text.missing and (text.codes >= 0).all() and all(map(WHOLE.fullmatch, text.words)):
        whole = [int(word) for word in text.words]
        if max(map(abs, whole)) <= LARGEST_WHOLE:
            return pd.Series(np.array(whole, dtype=np.int64)[text.codes])
    numbers = [
        np.nan if number in text.missing else spelling.number(word) for number, word in enumerate(text.words)
    ]
    return pd.Series(np.array([*numbers, np.nan])[text.codes])


def _as_words(text: _Text) -> pd.Series:
    truths = [TRUTHS.get(word.strip().lower()) for word in text.words]
    words: Sequence[object] = text.words
    read = [truth for word, truth in zip(text.words, truths, strict=True) if word.strip()]
    if read and None not in read:
        if (text.codes >= 0).all():
            return pd.Series(np.array(truths, dtype=bool)[text.codes])
        words = [str(truth) for truth in truths]  # beside empty cells too, a model knows True, not TRUE
    return pd.Series(pd.array([*words, None], dtype="str").take(text.codes))


def _spelling_notes(texts: dict[str, _Text], taken: dict[str, Spelling | None]) -> Iterator[str]:
    """Sentences on numbers that are not written as a computer writes them, one a spelling."""
    alike: dict[Spelling, list[str]] = {}
    for name, spelling in taken.items():
        if spelling is not None and not spelling.plain:
            alike.setdefault(spelling, []).append(name)
    for spelling, names in alike.items():
        example = next(word for word in texts[names[0]].said if spelling.marks(word))
        yield (
            f"{_columns(names)} read as numbers: {example.strip()!r} as {spelling.number(example):.15g} "
            f"({spelling.meaning})."
        )


def _doubtful(
    texts: dict[str, _Text], fits: dict[str, list[Spelling]], taken: dict[str, Spelling | None]
) -> Iterator[str]:
    """Sentences on columns of numbers that can be read in two ways."""
    for name, spelled in fits.items():
        if spelled and taken[name] is None:
            example = next(
                word for word in texts[name].said if spelled[0].marks(word) or spelled[1].marks(word)
            )
            ways = " or ".join(f"{spelling.number(example):.15g}" for spelling in spelled[:2])
            yield (
                f"Column {name!r} holds numbers in a spelling that can be read in two ways: {example.strip()!r} is "
                f"{ways}. It was not read as numbers: write it with a decimal point and nothing between thousands."
            )


def _padded(texts: dict[str, _Text], taken: dict[str, Spelling | None]) -> Iterator[str]:
    """Sentences on codes of one length with zeros in front, such as postal codes, which are read as numbers."""
    for name, spelling in taken.items():
        said = texts[name].said
        if (
            spelling is None
            or len(set(map(len, said))) != 1
            or len(said[0]) < 3
            or not all(map(str.isdigit, said))
        ):
            continue
        if example := next((word for word in said if word.startswith("0")), None):
            yield (
                f"Column {name!r} holds digits with zeros in front, such as {example}, and was read as numbers. If "
                "they are codes, put a letter in front of them."
            )


def _missing_notes(texts: dict[str, _Text], taken: dict[str, Spelling | None]) -> Iterator[str]:
    for name, spelling in taken.items():
        written = frozenset(number for number in texts[name].missing if texts[name].words[number].strip())
        if spelling is not None and written:
            counted = texts[name].counted(written)
            yield f"Column {name!r} holds numbers, and {counted}, which counts as missing there."
    beside = [name for name, text in texts.items() if taken[name] is None and text.said and _unknown(text)]
    if beside:
        example = next(iter(_unknown(texts[beside[0]])))
        yield (
            f"Words such as {example!r} count as words, not as missing, in {some([repr(name) for name in beside])}. "
            "Leave a cell empty where nothing is known."
        )


def _unknown(text: _Text) -> list[str]:
    """The words that would count as missing among numbers."""
    return [text.words[number] for number in sorted(text.missing) if text.words[number].strip()]


def _columns(names: Sequence[str]) -> str:
    listed = some([repr(name) for name in names])
    return f"Column {listed} was" if len(names) == 1 else f"Columns {listed} were"
