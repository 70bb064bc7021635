"""`influence export`: what was decided, as tables, images and log.

influence export runs/fashion --out corrected
"""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add export to the parser."""
    export = commands.add_parser("export", help="write what was decided: tables, images, log")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    export.set_defaults(run=_export)


def _export(chosen: argparse.Namespace) -> int:
    from influence_core.decisions.log import decision_log_for
    from influence_core.exports import decided as exports
    from influence_core.inputs.reopened import reopen_dataset
    from influence_core.runs.run import open_run

    run = open_run(chosen.folder)
    log = decision_log_for(chosen.folder.resolve().parent)
    chosen.out.mkdir(parents=True, exist_ok=True)
    written = {
        "decisions.csv": exports.write_csv(exports.corrections(run, log), chosen.out / "decisions.csv"),
        "labels.csv": exports.write_csv(exports.corrected_labels(run, log), chosen.out / "labels.csv"),
        "labels.parquet": exports.write_parquet(
            exports.corrected_labels(run, log), chosen.out / "labels.parquet"
        ),
        "label_issues.csv": exports.write_csv(
            exports.label_issues(run, log), chosen.out / "label_issues.csv"
        ),
        "log.csv": exports.write_log(run, log, chosen.out / "log.csv"),
    }
    if run.description["inputs"]["dataset"].get("path") and run.has_thumbnails:
        dataset = reopen_dataset(run)
        written["images.zip"] = exports.write_image_folder(run, log, dataset, chosen.out / "images.zip")
    for name, rows in written.items():
        print(f"{rows:>8,}  {chosen.out / name}")
    return 0
