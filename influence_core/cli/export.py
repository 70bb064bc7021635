"""`influence export`: the decisions of a run as tables, images and log.

influence export runs/fashion --out corrected
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
    from influence_core.decisions.log import decision_log_for
    from influence_core.exports import decided as exports
    from influence_core.inputs.reopened import reopen_dataset
    from influence_core.runs.run import open_run

    run = open_run(args.folder)
    log = decision_log_for(args.folder.resolve().parent)
    args.out.mkdir(parents=True, exist_ok=True)
    written = {
        "decisions.csv": exports.write_csv(exports.corrections(run, log), args.out / "decisions.csv"),
        "labels.csv": exports.write_csv(exports.corrected_labels(run, log), args.out / "labels.csv"),
        "labels.parquet": exports.write_parquet(
            exports.corrected_labels(run, log), args.out / "labels.parquet"
        ),
        "label_issues.csv": exports.write_csv(exports.label_issues(run, log), args.out / "label_issues.csv"),
        "log.csv": exports.write_log(run, log, args.out / "log.csv"),
    }
    if run.description["inputs"]["dataset"].get("path") and run.has_thumbnails:
        dataset = reopen_dataset(run)
        written["images.zip"] = exports.write_image_folder(run, log, dataset, args.out / "images.zip")
    for name, rows in written.items():
        print(f"{rows:>8,}  {args.out / name}")
    return 0
