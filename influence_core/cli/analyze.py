"""`influence check` and `influence analyze`: the cost of an analysis, and the analysis.

influence check sample_data/fashion/model.safetensors sample_data/fashion
influence analyze sample_data/fashion --out runs/fashion
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence_core.cli.bar import bar
from influence_core.errors import InfluenceError

if TYPE_CHECKING:
    from influence_core.runs.run import Run
    from influence_core.scores.gradient_map import MapProcess


def add_commands(commands: Any) -> None:
    """Add check and analyze to the parser."""
    check = commands.add_parser("check", help="show what an analysis would do and cost, or why it is refused")
    check.add_argument("model", metavar="MODEL", help="weights, or a folder with model.safetensors")
    check.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder, .zip, .csv (.tsv, .txt, .jsonl, .xlsx, .gz), .parquet or .npz",
    )
    check.add_argument("--architecture", help="its name, when there is no model.json beside the weights")
    check.add_argument("--classes", metavar="A,B,...", help="class names in the order of the model's outputs")
    _add_settings(check)
    check.add_argument("--json", action="store_true", help="print facts instead of a table")
    check.set_defaults(run=_check)

    analyze = commands.add_parser("analyze", help="score every training sample and write a run folder")
    analyze.add_argument(
        "dataset",
        help="folder, .zip, .csv (.tsv, .txt, .jsonl, .xlsx, .gz), .parquet or .npz; may carry model.safetensors "
        "and model.json",
    )
    analyze.add_argument(
        "--out", required=True, type=Path, metavar="RUN", help="the run folder to write or continue"
    )
    analyze.add_argument(
        "--model", metavar="FILE", help="weights; default: model.safetensors in the dataset folder"
    )
    analyze.add_argument("--architecture", help="its name, when there is no model.json beside the weights")
    _add_settings(analyze)
    analyze.add_argument("--seed", type=int, default=0)
    analyze.set_defaults(run=_analyze)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide the cost of an analysis, the same for check and analyze."""
    parser.add_argument(
        "--objectives",
        nargs="+",
        default=["utility"],
        metavar="NAME",
        help="influence on what: utility, utility:class, fairness:COLUMN[:KIND[:CLASS]]; all in one sweep",
    )
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples a pass; does not change a score")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out damaged pictures, listed in run.json"
    )
    parser.add_argument("--label", metavar="COLUMN", help="a table's column of classes; default: label")


def _check(args: argparse.Namespace) -> int:
    """Print the check; with --json a refusal is printed too, for the page that runs this command."""
    try:
        from influence_core.analysis.dry_run import dry_run, report

        check = dry_run(
            args.model,
            args.dataset,
            architecture=args.architecture,
            classes=[name.strip() for name in args.classes.split(",")] if args.classes else None,
            objectives=args.objectives,
            precision=args.precision,
            batch_size="auto" if args.batch_size is None else args.batch_size,
            skip_unreadable=args.skip_unreadable,
            label=args.label,
        )
    except InfluenceError as error:
        if not args.json:
            raise
        print(json.dumps({"refused": str(error)}))
        return 1
    print(json.dumps(check.to_json()) if args.json else report(check))
    return 0


def _analyze(args: argparse.Namespace) -> int:
    print("Loading torch, the dataset and the model.", file=sys.stderr)
    from influence_core.scores.gradient_map import MapProcess

    with closing(MapProcess(seed=args.seed)) as drawing:  # compiles while torch is imported
        run = _analyzed(args, drawing)
    results = run.description["results"]
    if results["validation_mix"]:
        print(results["validation_mix"], file=sys.stderr)
    print(
        f"{results['flagged']:,} of {len(run.samples):,} training labels are in doubt; "
        f"about {results['expected_errors']:,.0f} wrong ones are expected in all.\n"
        f"The run is in {args.out}. To look at it: influence app --runs {args.out.parent}"
    )
    return 0


def _analyzed(args: argparse.Namespace, drawing: MapProcess) -> Run:
    from influence_core.analysis.analyze import analyze
    from influence_core.inputs.pair import open_pair
    from influence_core.run_files.progress import STAGES, ProgressWriter

    model, dataset = open_pair(
        args.model or Path(args.dataset) / "model.safetensors",
        args.dataset,
        model_options={"architecture": args.architecture},
        dataset_options={"skip_unreadable": args.skip_unreadable, "label": args.label},
    )
    for note in dataset.notes:
        print(note, file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    keep = ProgressWriter(args.out, STAGES)
    shown = bar(STAGES)

    def on_progress(stage: str, done: int, total: int) -> None:
        keep(stage, done, total)
        shown(stage, done, total)

    return analyze(
        model,
        dataset.train,
        dataset.val,
        test=dataset.test,
        objectives=args.objectives,
        precision=args.precision,
        batch_size="auto" if args.batch_size is None else args.batch_size,
        seed=args.seed,
        out=args.out,
        source=dataset,
        drawing=drawing,
        on_progress=on_progress,
    )
