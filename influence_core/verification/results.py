"""Results of a verification, read from its folder, and their summary in one sentence that does not exaggerate.

RUN/verifications/<number>/   verification.json, changes.parquet; job.json and progress.json if a job made it
RUN/verifications/<number>.taken   empty
RUN/trainings/<key>.npz       probabilities of each trained model; <key>/model.safetensors for the repaired one
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from influence_core.errors import DamagedError, RunError
from influence_core.judging.intervals import Estimate, estimate_from
from influence_core.repair.repairs import Repair
from influence_core.run_files import seals
from influence_core.runs.run import Run
from influence_core.system import atomic

FOLDER, RESULT, CHANGES = "verifications", "verification.json", "changes.parquet"
NONE = "no measurable effect"


@dataclass(frozen=True)
class Verification:
    """A verification on disk. `finished` is False while the groups of the scatter are still being trained."""

    folder: Path
    content: dict[str, Any]

    @property
    def finished(self) -> bool:
        return self.content["state"] == "finished"

    @property
    def name(self) -> str:
        return str(self.content["repair"]["name"])

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        return self.content["arms"]

    def difference(self, metric: str = "accuracy", arm: str = "repair") -> Estimate | None:
        """Arm minus "nothing", paired, with its 95 % interval; None if it was not measured."""
        facts = self.arms.get(arm, {}).get("differences", {}).get(metric)
        return None if facts is None else estimate_from(facts)

    @property
    def recovered(self) -> Estimate | None:
        """Recovered share of the accuracy lost to wrong labels; None without true labels or a measurable loss."""
        facts = self.content.get("recovered")
        return None if not facts else estimate_from(facts)

    @property
    def recovered_loss(self) -> Estimate | None:
        """The same share of the test loss, which shows improvements too small to change a prediction."""
        facts = self.content.get("recovered_loss")
        return None if not facts else estimate_from(facts)

    @property
    def rank_correlation(self) -> Estimate | None:
        facts = self.content.get("rank_correlation")
        return None if not facts else estimate_from(facts)

    @property
    def calibration(self) -> dict[str, Any] | None:
        return self.content.get("calibration")

    def repair(self) -> Repair:
        """The repair that was verified."""
        return frozen_repair(self.folder, self.content["repair"])

    def model_folder(self) -> Path:
        """Folder of the model trained on the repaired data: model.safetensors and model.json."""
        return self.folder.parents[1] / "trainings" / self.content["model"]

    @property
    def aim(self) -> str:
        """The metric that the repair aims at: accuracy, or the gap between groups that it should narrow."""
        gaps, objective = self.content.get("gaps", {}), self.content["repair"].get("aim")
        return str(gaps.get(objective, "accuracy"))

    @property
    def verdict(self) -> str:
        """improved, worsened, or no measurable effect: by the interval of the change of the metric aimed at."""
        effect = self.difference(self.aim)
        if effect is None or not effect.measurable:
            return NONE
        return "improved" if (effect.value > 0) == (self.aim == "accuracy") else "worsened"

    def sentence(self) -> str:
        """The result in words, for a page, a command and a report."""
        effect, levels = self.difference(), self.arms["repair"]["levels"]
        split = "test" if self.content["judged_by"] == "test" else "validation"
        subject = described(self.content["repair"])
        if self.aim != "accuracy" and self.difference(self.aim) is not None:
            return self._gap_in_words(subject, split)
        if effect is None:
            return f"{subject}: {split} accuracy {percent(levels['accuracy'])}; nothing to compare it with."
        before = self.arms["nothing"]["levels"]["accuracy"]
        band = banded(effect)
        if self.verdict == NONE:
            text = f"{subject} had no measurable effect on {split} accuracy ({percent(before)}): {band}"
            text += self._loss_in_words(split)
        else:
            verb = "raised" if effect.value > 0 else "lowered"
            text = f"{subject} {verb} {split} accuracy from {percent(before)} to {percent(levels['accuracy'])}, {band}"
        control = self.difference(arm="random")
        return text + (
            f"; a random repair of the same size: {points(control.value)}." if control is not None else "."
        )

    def _gap_in_words(self, subject: str, split: str) -> str:
        """The effect of a repair on its gap and on accuracy, each beside the random control."""
        effect, cost = self.difference(self.aim), self.difference()
        assert effect is not None and cost is not None
        before, after = (self.arms[arm]["levels"][self.aim] for arm in ("nothing", "repair"))
        name = f"the {split} {self.aim.removeprefix('gap ').replace(', ', ' gap (', 1)})"
        if self.verdict == NONE:
            text = f"{subject} had no measurable effect on {name}, {percent(before)}: {banded(effect)}"
        else:
            verb = "narrowed" if effect.value < 0 else "widened"
            text = f"{subject} {verb} {name} from {percent(before)} to {percent(after)}, {banded(effect)}"
        text += f"; accuracy {banded(cost)}"
        gap, accuracy = self.difference(self.aim, "random"), self.difference(arm="random")
        if gap is None or accuracy is None:
            return f"{text}."
        return f"{text}; a random removal of the same size: {points(gap.value)}, accuracy {points(accuracy.value)}."

    def _loss_in_words(self, split: str) -> str:
        """The effect on the loss if it is measurable: a finer measure than accuracy of the same predictions."""
        effect = self.difference("loss")
        if effect is None or not effect.measurable:
            return ""
        verb = "lowered" if effect.value < 0 else "raised"
        numbers = f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]".replace("-", "\u2212")
        before, after = (self.arms[arm]["levels"]["loss"] for arm in ("nothing", "repair"))
        return f", but {verb} {split} loss from {before:.3f} to {after:.3f}, {numbers}"


def described(repair: dict[str, Any]) -> str:
    """A repair in words: 'Repairing 212 labels', 'Removing 40 samples', 'Changing nothing'."""
    relabel, rest = repair["relabel"], repair["remove"] + repair["weigh"]
    if not relabel and not rest:
        return "Changing nothing"
    parts = [f"repairing {relabel:,} label{'s' * (relabel != 1)}"] if relabel else []
    if repair["remove"]:
        parts.append(f"removing {repair['remove']:,} sample{'s' * (repair['remove'] != 1)}")
    if repair["weigh"]:
        parts.append(f"weighing {repair['weigh']:,} sample{'s' * (repair['weigh'] != 1)} less")
    text = " and ".join(parts)
    return text[0].upper() + text[1:]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """A difference of shares in percentage points, always with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\u2212")


def banded(effect: Estimate) -> str:
    """A difference of shares with its interval, such as '+3.6 points [+2.8, +4.4]'."""
    return f"{points(effect.value)} points [{points(effect.low)}, {points(effect.high)}]"


def open_verification(folder: Path | str) -> Verification:
    """Read a verification, also one with a first result that is still being trained.

    Raises:
        RunError: no verification in this folder, or one that cannot be read.
    """
    path = Path(folder) / RESULT
    if not path.exists():
        raise RunError(
            f"No verification in {folder}: it has no {RESULT} yet. Wait for its job, or verify again."
        )
    try:
        content = seals.read_json(path)
    except DamagedError as error:
        raise RunError(f"{error} Delete this folder and verify again.") from error
    if content.get("format") != 1:
        raise RunError(f"{path} has format {content.get('format')}; this version reads 1. Verify again.")
    return Verification(Path(folder), content)


def frozen_repair(folder: Path, facts: dict[str, Any]) -> Repair:
    """A repair with the changes frozen in `folder`; `facts` is the entry of its job or its result about it.

    Raises:
        RunError: the file of changes is missing, cut or was changed.
    """
    path = folder / CHANGES
    if not path.is_file() or facts.get("changes", atomic.sha256(path)) != atomic.sha256(path):
        raise RunError(
            f"{path} is missing or was changed after it was written. Delete {folder} and verify again."
        )
    changes = pd.read_parquet(path).set_index("sample_id")
    options = {name: facts[name] for name in ("made", "undone", "aim") if name in facts}
    return Repair(facts["name"], facts["run"], changes, **options)


def new_folder(run: Run) -> Path:
    """Create an empty folder for the next verification of a run, numbered after the highest one there ever was.

    The file <number>.taken outlives its folder: a link or a report of a deleted verification must not show another.
    """
    root = run.path / FOLDER
    root.mkdir(exist_ok=True)
    number = 1 + max((int(path.stem) for path in root.iterdir() if path.stem.isdigit()), default=0)
    while True:
        try:
            (root / f"{number}.taken").touch(exist_ok=False)
            (root / str(number)).mkdir()
            return root / str(number)
        except FileExistsError:  # another process was faster
            number += 1


def list_verifications(run: Run) -> list[Verification]:
    """All verifications of a run that have a result, newest first."""
    folders = (run.path / FOLDER).glob(f"*/{RESULT}")
    verifications = [open_verification(path.parent) for path in folders]
    return sorted(
        verifications,
        key=lambda verification: (verification.content["made"], verification.folder.name),
        reverse=True,
    )


def calibration_of(run: Run) -> dict[str, Any] | None:
    """The scale of predictions, from the newest finished verification whose rank correlation is above zero.

    None without such a verification: a scale fitted to points that predictions do not order would only look exact.
    """
    for verification in list_verifications(run):
        if (
            verification.finished
            and verification.rank_correlation is not None
            and verification.rank_correlation.low > 0
        ):
            return verification.calibration
    return None
