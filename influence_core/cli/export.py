"""`influence export`: the decisions of a run as tables, images and log.

influence export runs/fashion --out corrected

labels.parquet holds names and ids exactly. In a CSV, words that pandas takes for missing (NA) and cells that begin like
a formula (=x) have an apostrophe in front, so that none is lost; digits stay text by
pandas.read_csv("labels.csv", dtype=str, keep_default_na=False).
"""

import argparse
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add export to the parser."""
    export = commands.add_parser("export", help="write the decisions: tables, images, log")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    export.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    from influence_core.decisions.corrections import corrected_labels, corrections, not_checked
    from influence_core.decisions.log import decision_log_for
    from influence_core.exports.annotation_tools import label_issues
    from influence_core.exports.image_folder import write_image_folder
    from influence_core.inputs.reopened import reopen_dataset
    from influence_core.runs.run import open_run
    from influence_core.system.safe_tables import write_csv, write_parquet

    run = open_run(args.folder)
    log = decision_log_for(args.folder.resolve().parent)
    args.out.mkdir(parents=True, exist_ok=True)
    labels = corrected_labels(run, log)
    written = {
        "decisions.csv": write_csv(corrections(run, log), args.out / "decisions.csv"),
        "labels.csv": write_csv(labels, args.out / "labels.csv"),
        "labels.parquet": write_parquet(labels, args.out / "labels.parquet"),
        "label_issues.csv": write_csv(label_issues(run, log), args.out / "label_issues.csv"),
        "log.csv": write_csv(log.parts(run.id), args.out / "log.csv"),
    }
    if run.description["inputs"]["dataset"].get("path") and run.has_thumbnails:
        written["images.zip"] = write_image_folder(run, log, reopen_dataset(run), args.out / "images.zip")
    for name, rows in written.items():
        print(f"{rows:>8,}  {args.out / name}")
    if said := not_checked(run):
        print(said)
    return 0
