"""One sentence on why a sample is in doubt, from its scores, neighbours and influence; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pages.ui.words import formats

_NOTABLE = 0.90
"""A score is mentioned when it exceeds that of 90 % of all samples."""

_NAMED = {"grad_norm": "gradient norm", "loss": "loss", "outlier_forest": "isolation-forest score"}


def sentence(
    *,
    given: str,
    suggested: str | None,
    ranks: Mapping[str, float],
    neighbours: Sequence[str],
    influence: float | None,
) -> str:
    """The evidence in one sentence of up to three parts.

    Args:
        given: The given label.
        suggested: The suggested label, if any.
        ranks: For each score, the share of samples this one exceeds, in [0, 1].
        neighbours: Given labels of the nearest training samples.
        influence: Utility influence; negative means that learning from the sample raises validation loss.
    """
    parts = [*_extremes(ranks), *_company(given, suggested, neighbours), *_effect(influence)]
    if not parts:
        return f"Nothing stands out: its scores and its neighbours agree with '{given}'."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def _extremes(ranks: Mapping[str, float]) -> list[str]:
    high = [(rank, name) for name, rank in ranks.items() if name in _NAMED and rank >= _NOTABLE]
    if not high:
        return []
    rank, name = max(high)
    share = max(1, round(100 * (1 - rank)))
    return [f"its {_NAMED[name]} is in the top {share}{formats.THIN}%"]


def _company(given: str, suggested: str | None, neighbours: Sequence[str]) -> list[str]:
    if not neighbours:
        return []
    other = sum(label == suggested for label in neighbours) if suggested not in (None, given) else 0
    if other:
        return [f"{other} of its {len(neighbours)} nearest neighbours are labelled {suggested}"]
    same = sum(label == given for label in neighbours)
    if same <= len(neighbours) // 2:
        return [f"only {same} of its {len(neighbours)} nearest neighbours share its label"]
    return []


def _effect(influence: float | None) -> list[str]:
    if influence is None or influence >= 0:
        return []
    return ["learning from it raises validation loss"]
