"""A run all of whose names are markdown, HTML and addresses, as a stranger's dataset could carry them."""

from pathlib import Path
from typing import Any

import pytest

from influence_core.runs.run import Run
from tests.making import drawn_run

FAR = "evil.example"
PICTURE = f"![x](http://{FAR}/p.png)"
HOSTILE = (
    PICTURE,
    f"[click](http://{FAR}/l) http://{FAR}/auto",
    f"www.{FAR} ada@{FAR}",
    f"<img src=http://{FAR}/i.png><a href='http://{FAR}/a'>a</a>",
    ":red[x] :smile: :material/delete: $x^2$ `c` **b**",
)


def make_hostile_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Classes, group column, group, dataset, model, notes and meanings of columns are hostile."""
    plain, meanings = drawn_run._description, drawn_run._columns

    def description(*given: Any) -> dict[str, Any]:
        facts = plain(*given)
        facts["inputs"]["dataset"] |= {"name": HOSTILE[1], "notes": list(HOSTILE)}
        facts["inputs"]["model"]["architecture"] = HOSTILE[3]
        return facts | {"name": HOSTILE[2], "reproducibility": {"state": "agreed", "sentence": HOSTILE[1]}}

    def columns(*given: Any) -> dict[str, dict[str, Any]]:
        return {
            name: facts | {"meaning": PICTURE, "unit": HOSTILE[2]} for name, facts in meanings(*given).items()
        }

    monkeypatch.setattr(drawn_run, "NAMES", tuple(f"{name} {row}" for row in range(2) for name in HOSTILE))
    monkeypatch.setattr(drawn_run, "_description", description)
    monkeypatch.setattr(drawn_run, "_columns", columns)
    return drawn_run.make_small_run(folder, n=60, classes=5, gap=True, column=PICTURE, worse=HOSTILE[1])
