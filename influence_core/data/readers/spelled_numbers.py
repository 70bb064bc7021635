"""Numbers as people write them: a separator between thousands, a decimal comma, a currency, per cent.

A spelling fits a column when it fits every word of it. Where two fit and give other numbers (1,234), the other columns
decide, then the separator of the file; else none is taken.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

PLAIN = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf(inity)?)\s*", re.IGNORECASE)
"""A number as a computer writes it."""
LONGEST = 60
"""Characters of the longest word that is tried as a number."""
SPACES = "\u0020\u00a0\u2009\u202f"
UNITS = (
    r"[$€£¥₹₽₩₺¢%‰]|(?:US|A|C|R)\$|USD|EUR|GBP|CHF|JPY|CNY|INR|SEK|NOK|DKK|PLN|CZK|BRL|Rs\.?|kr\.?|zł|Kč|Fr\."
)
WORD = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+\u2212])?\s*(?P<before>{UNITS})?\s*(?P<inner>[-+\u2212])?"
    rf"(?P<body>[.,]?\d[\d.,'\u2019{SPACES}]*?(?:[eE][+-]?\d+)?)\s*(?P<after>{UNITS})?\s*(?P<close>\))?"
)
BETWEEN = {"": "", ",": ",", ".": ".", "space": SPACES, "'": "'\u2019"}
NAMES = {",": "commas", ".": "points", "space": "spaces", "'": "apostrophes"}


@dataclass(frozen=True)
class Spelling:
    """What stands between thousands ("", a comma, a point, space or '), the decimal sign, and the unit of all."""

    between: str
    point: str
    unit: str = ""
    plain: bool = False

    @property
    def meaning(self) -> str:
        """What the signs were taken for."""
        parts = [f"{NAMES[self.between]} between thousands"] if self.between else []
        parts += ["a decimal comma"] if self.point == "," else []
        parts += [f"the unit {self.unit} left out"] if self.unit else []
        return ", ".join(parts) or "a sign or brackets for negative numbers"

    def marks(self, word: str) -> bool:
        """Whether a word shows this spelling, being no plain number."""
        return not PLAIN.fullmatch(word) or (self.between == "." and "." in word)

    def number(self, word: str) -> float:
        """Return the number of a word that fits."""
        if self.plain:
            return float(word)
        match = WORD.fullmatch(word.strip())
        assert match is not None, "spellings() has matched every word"
        digits = match["body"].translate(dict.fromkeys(map(ord, BETWEEN[self.between])))
        negative = match["open"] or {match["sign"], match["inner"]} & {"-", "\u2212"}
        return float(digits.replace(self.point, ".")) * (-1 if negative else 1)


def spellings(words: Sequence[str]) -> list[Spelling]:
    """Return the spellings that fit all words and give different numbers; [] where a word is no number.

    Plain numbers such as 950 and 1.234 may be whole ones with points between thousands; their columns have both.
    """
    if not words or max(map(len, words)) > LONGEST:
        return []
    if all(map(PLAIN.fullmatch, words)):
        unsigned = [word.strip().lstrip("+-") for word in words]
        thousands = any("." in word for word in unsigned) and _all_fit(Spelling(".", ","), unsigned)
        return [Spelling("", ".", plain=True), *([Spelling(".", ",")] if thousands else [])]
    found = [match for word in words if (match := WORD.fullmatch(word.strip()))]
    if len(found) < len(words) or all(match["open"] for match in found) or any(map(_torn, found)):
        return []
    unit = _unit(found)
    if unit is None:
        return []
    bodies = [match["body"] for match in found]
    possible = [Spelling(between, point, unit) for between in BETWEEN for point in ".," if between != point]
    return _different([spelling for spelling in possible if _all_fit(spelling, bodies)], words)


def point_of(words: Sequence[str], fits: Sequence[Spelling]) -> str | None:
    """Return the decimal sign that a column proves, None where it could be another."""
    if len(fits) != 1:
        return None
    return fits[0].point if any(fits[0].point in word for word in words) else None


def chosen(
    fits: Sequence[Spelling], points: Collection[str | None], separator: str | None
) -> Spelling | None:
    """Return the spelling of a column: the only one, that of the other columns, that of the file, or None.

    A plain number is one with a decimal point, unless all other columns that prove a sign prove the comma. Money has
    no three decimals. In a file separated by commas, a comma inside a cell stands between thousands: where it is the
    decimal sign, files are separated by semicolons.
    """
    if len(fits) < 2:
        return fits[0] if fits else None
    if fits[0].unit.strip("%\u2030"):
        return next((spelling for spelling in fits if spelling.between), fits[0])
    proven = set(points) - {None}
    if len(proven) == 1:
        return next((spelling for spelling in fits if spelling.point in proven), fits[0])
    if fits[0].plain:
        return fits[0]
    return next((spelling for spelling in fits if spelling.point == "."), None) if separator == "," else None


def _unit(matches: Sequence[re.Match]) -> str | None:
    """Return the unit that all words share, "" for none; None where they differ. A bare 0 needs no unit."""
    units = {(match["before"] or match["after"] or "") for match in matches if match["body"].strip("0.,")}
    both = any(match["before"] and match["after"] for match in matches)
    return None if len(units) > 1 or both else next(iter(units), "")


def _torn(match: re.Match) -> bool:
    """Whether brackets do not close, or two signs stand in one word."""
    signs = sum(match[part] is not None for part in ("open", "sign", "inner"))
    return (match["open"] is None) != (match["close"] is None) or signs > 1


@lru_cache
def _pattern(between: str, point: str) -> re.Pattern:
    """The pattern of a number. A grouped column has no four digits in a row, but beside spaces."""
    fraction = rf"(?:{re.escape(point)}\d+)?(?:[eE][+-]?\d+)?"
    if not between:
        return re.compile(rf"(?:\d+|(?={re.escape(point)}))" + fraction)
    mark = f"[{re.escape(BETWEEN[between])}]"
    threes = rf"[1-9]\d{{0,2}}(?:{mark}\d{{3}})+"
    twos = (
        rf"|[1-9]\d?(?:{mark}\d{{2}})+{mark}\d{{3}}" if between == "," else ""
    )  # 12,34,567 as written in India
    alone = r"\d{1,4}" if between == "space" else r"\d{1,3}"
    return re.compile(rf"(?:{threes}{twos}|{alone})" + fraction)


def _all_fit(spelling: Spelling, bodies: Sequence[str]) -> bool:
    return all(map(_pattern(spelling.between, spelling.point).fullmatch, bodies))


def _different(fitting: Sequence[Spelling], words: Sequence[str]) -> list[Spelling]:
    """Return the first spelling of each set of numbers they give."""
    by_numbers: dict[tuple[float, ...], Spelling] = {}
    for spelling in fitting:
        by_numbers.setdefault(tuple(spelling.number(word) for word in words), spelling)
    return list(by_numbers.values())
