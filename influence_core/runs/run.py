"""`Run`: a finished run with its tables, its model and its data."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from influence_core.run_files.tables import RunTables, checked_description

if TYPE_CHECKING:  # these bring torch, which a page that only shows a run need not wait for
    from influence_core.inputs.reopened import Inputs
    from influence_core.runs.answers import Explanation, FirstAnswer


@final
class Run(RunTables):
    """A finished run, read only: the content of its files, and explanations by its model.

    Files are read, and model and data opened, on first use.
    """

    def __init__(self, path: Path, description: Mapping[str, Any]) -> None:
        """Use `open_run`, which checks the folder first."""
        super().__init__(path, description)
        self._inputs: Inputs | None = None
        self._opening = threading.Lock()
        self._kept: object = None

    def explain(self, sample: Any, k: int = 10, **options: Any) -> "Explanation":
        """The training samples that help and hurt one prediction most: see explanations.explain."""
        from influence_core.runs.explanations import explain

        return explain(self, self.inputs(), sample, k=k, **options)

    def first_answer(self, sample_id: str, k: int = 10, **options: Any) -> "FirstAnswer | None":
        """What the stored sketches say at once, before the model is opened: see first_answer.first_answer."""
        from influence_core.runs.first_answer import first_answer

        return first_answer(self, sample_id, k=k, **options)

    def affected(self, sample_id: str, k: int = 10, **options: Any) -> "Explanation":
        """The validation samples that a training sample helps and hurts most: see explanations.affected."""
        from influence_core.runs.explanations import affected

        return affected(self, self.inputs(), sample_id, k=k, **options)

    def inputs(self) -> "Inputs":
        """Model and data of this run, reopened and compared with its fingerprints on first use."""
        with self._opening:
            if self._inputs is None:
                from influence_core.inputs.reopened import reopen

                self._inputs = reopen(self)
            return self._inputs

    def adopt(self, model: Any, train: Any, val: Any, test: Any = None, **options: Any) -> None:
        """Attach the model and the splits the run was made from, for a run that cannot open them itself.

        Raises:
            RunError: their fingerprints are not those of the run.
        """
        from influence_core.inputs.reopened import adopt

        self.attach_inputs(adopt(self, model, train, val, test, **options))

    def keep(self, folder: object) -> None:
        """Hold on to the temporary folder that the run lies in; it is removed with the last reference to it."""
        self._kept = folder

    def attach_inputs(self, inputs: "Inputs") -> None:
        """Attach inputs that are certain to be those of this run, as `analyze` does."""
        self._inputs = inputs


def open_run(path: Path | str) -> Run:
    """Open a finished run.

    Raises:
        RunError: it is missing, unfinished or damaged; the message names the file and the next action.
    """
    path = Path(path)
    return Run(path, checked_description(path))
