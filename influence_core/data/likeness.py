"""Likeness of class names: names that differ so little that one is probably a slip, and names that say "no label".

Nothing is merged here. People are told once, with the counts, and decide.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from influence_core.data.rows import counted, some

NO_LABEL = frozenset(
    "unlabeled unlabelled unannotated unknown unk none null nan na n/a #n/a ? -- - missing (missing) todo tbd "
    "undefined unclassified unspecified unassigned".split()
) | {"no label", "not labeled", "not labelled", "to do", "not available", "not annotated", "-1"}
"""Names in small letters that usually say that nobody has labelled the sample."""


def likeness_notes(labels: Sequence[str]) -> tuple[str, ...]:
    """Return sentences on the labels of all samples that look alike, and on those that say "no label"."""
    counts = Counter(labels)
    return (*_alike_notes(counts), *_unlabelled_notes(counts))


def likely_slip(unknown: str, known: Collection[str]) -> str | None:
    """Return the known name that an unknown one looks like, None if there is none or more than one."""
    like = [name for name in known if essence(name) == essence(unknown)]
    return like[0] if len(like) == 1 else None


def essence(name: str) -> str:
    """Return a name without what slips change: case, spaces, marks at its end, forms of characters, leading zeros."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = re.sub(r"[\s_\u00ad\u200b-\u200d\ufeff]+", " ", text).strip()
    text = re.sub(r"(?<=\w)\s*[.;:,!]+$", "", text)
    return re.sub(r"^([+-]?)0*(\d+?)(\.0+)?$", r"\1\2", text)


def _alike_notes(counts: Mapping[str, int]) -> Iterator[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(counts):
        alike[essence(name)].append(name)
    several = [names for names in alike.values() if len(names) > 1]
    for names in several[:5]:
        listed = some([f"{name!r} ({counted(counts[name], 'sample')})" for name in names])
        most = max(names, key=lambda name: counts[name])
        yield (
            f"Classes that look alike count as different: {listed}. If they are one class, write all as {most!r} in "
            "the data and read it again."
        )
    if len(several) > 5:
        yield f"{counted(len(several) - 5, 'more group')} of classes look alike."


def _unlabelled_notes(counts: Mapping[str, int]) -> Iterator[str]:
    said = [name for name in sorted(counts) if says_no_label(name) and not _is_a_side(name, counts)]
    if said:
        listed = some([f"{name!r} ({counted(counts[name], 'sample')})" for name in said])
        noun, verb = ("class", "counts as a class") if len(said) == 1 else ("classes", "count as classes")
        yield (
            f"The {noun} {listed} may mean 'no label', but {verb}. If so, leave these labels empty: samples without a "
            "label are left out."
        )


def says_no_label(name: str) -> bool:
    """Whether a name usually says that nobody has labelled the sample."""
    return essence(name) in NO_LABEL


def _is_a_side(name: str, counts: Mapping[str, int]) -> bool:
    """Whether -1 is the opposite of 1, or one of several numbers below zero."""
    others = set(counts) - {name}
    return name.startswith("-") and (
        len(others) < 2 or any(re.fullmatch(r"-\d.*", other) for other in others)
    )
