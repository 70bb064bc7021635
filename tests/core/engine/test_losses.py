"""Laws of the losses of sequences: classes last, a mean over positions, rows that are samples."""

import pytest
import torch
from torch.nn import functional

from influence_core.engine.losses import LOSSES
from influence_core.errors import InfluenceError


def test_positions_laid_end_to_end_are_those_of_moved_classes():
    """Losses of words and pixels, one left out, as torch has them with classes on the second axis."""
    torch.manual_seed(0)
    for shape in ((3, 4, 5), (3, 2, 4, 5)):
        z, y = torch.randn(*shape), torch.randint(5, shape[:-1])
        y.view(-1)[1] = -100
        moved = functional.cross_entropy(z.movedim(-1, 1), y, reduction="none").flatten(1).mean(1)
        assert torch.allclose(LOSSES["cross_entropy"](z, y), moved), "positions were mixed with samples"


def test_labels_of_other_positions_are_refused():
    """(t, b, c) laid end to end has as many rows as labels (b, t), in another order."""
    with pytest.raises(InfluenceError, match=r"\(3, 4\).*\(4, 3, 5\).*\(4, 3\)"):
        LOSSES["cross_entropy"](torch.randn(4, 3, 5), torch.randint(5, (3, 4)))
