"""All exports of a run's decisions, in the formats of other tools.

    corrections         one row per decided sample, for people and spreadsheets (decisions/corrections.py)
    corrected_labels    one row per sample that remains, for training
    tables              as CSV that spreadsheets cannot run, as Parquet (system/safe_tables.py)
    image folder        a zip that open_dataset (and Hugging Face's image folder) reads (image_folder.py)
    issues, tasks       the tables of cleanlab and Label Studio (annotation_tools.py)
    log                 every event, also undone and late ones

Law: every decision is written and every written decision is exported, in the order of the run. The log belongs to the
run by its id. Decisions on samples that the run does not have are an error, never dropped.
"""

from influence_core.decisions.corrections import ExportCounts, corrected_labels, corrections, counts
from influence_core.decisions.log import DecisionLog
from influence_core.exports.annotation_tools import (
    label_issues,
    label_studio_config,
    label_studio_tasks,
)
from influence_core.exports.image_folder import write_image_folder
from influence_core.runs.run import Run
from influence_core.system.safe_tables import Target, read_csv, write_csv, write_parquet

__all__ = [
    "ExportCounts",
    "corrected_labels",
    "corrections",
    "counts",
    "label_issues",
    "label_studio_config",
    "label_studio_tasks",
    "read_csv",
    "write_csv",
    "write_image_folder",
    "write_log",
    "write_parquet",
]


def write_log(run: Run, log: DecisionLog, target: Target) -> int:
    """Write every event of the run as CSV, in order; returns the number of rows."""
    return write_csv(log.events(run.id), target)
