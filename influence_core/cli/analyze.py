"""`influence check` and `influence analyze`: the cost of an analysis, and the analysis.

influence check sample_data/fashion/model.safetensors sample_data/fashion
influence analyze sample_data/fashion --out runs/fashion

What weights do not say (architecture, class order, preprocessing) is read from model.json beside them, or given; for
weights without it a refusal ends with the command that tries the likely values and writes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence_core.cli.bar import bar
from influence_core.errors import InfluenceError, ModelError, UnknownModelError

if TYPE_CHECKING:
    from influence_core.data import Dataset
    from influence_core.models import OpenedModel
    from influence_core.runs.run import Run
    from influence_core.scores.gradient_map import MapProcess
    from influence_core.system.report import Report


def add_commands(commands: Any) -> None:
    """Add check and analyze to the parser."""
    check = commands.add_parser("check", help="show what an analysis would do and cost, or why it is refused")
    check.add_argument("model", metavar="MODEL", help="weights, or a folder with model.safetensors")
    check.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder, .zip, .csv (.tsv, .txt, .jsonl, .xlsx, .gz), .parquet or .npz",
    )
    _add_model_options(check)
    check.add_argument(
        "--write", action="store_true", help="write model.json beside the weights unless something is refused"
    )
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
        "--model",
        metavar="FILE",
        help="weights; default: model.safetensors in the dataset folder, else a small model is trained",
    )
    _add_model_options(analyze)
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
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "float64"),
        default="auto",
        help="auto: float64 for a model of that type",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="samples a pass; does not change a score")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out damaged pictures, listed in run.json"
    )
    parser.add_argument("--label", metavar="COLUMN", help="a table's column of classes; default: label")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add what model.json says, for weights without one, and the choice of a set of weights."""
    parser.add_argument("--architecture", metavar="NAME", help="its name, such as resnet18")
    parser.add_argument(
        "--classes", metavar="A,B,...", help="class names in the order of the outputs; or a JSON list"
    )
    parser.add_argument(
        "--preprocessing", metavar="JSON", help="channels, size, mean and std, as in model.json"
    )
    parser.add_argument("--weights-key", metavar="KEY", help="which of several sets of weights in the file")


def _model_options(args: argparse.Namespace) -> dict[str, Any]:
    from influence_core.models.model_json import read_preprocessing

    return {
        "architecture": args.architecture,
        "classes": _names(args.classes),
        "preprocessing": read_preprocessing(_json("--preprocessing", args.preprocessing), "--preprocessing"),
        "weights_key": args.weights_key,
    }


def _names(text: str | None) -> list[str] | None:
    if text is None or not text.startswith("["):
        return [name.strip() for name in text.split(",")] if text else None
    names = _json("--classes", text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(f'--classes is {text[:200]}; expected names such as cat,dog or ["cat", "dog"].')
    return names


def _json(option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{option} is {text[:200]}, which is not valid JSON ({error}). Put it in single quotes."
        ) from error


def _dataset_options(args: argparse.Namespace) -> dict[str, Any]:
    return {"skip_unreadable": args.skip_unreadable, "label": args.label}


def _check(args: argparse.Namespace) -> int:
    """Print the check; with --json a refusal is printed too, for the page that runs this command."""
    try:
        from influence_core.analysis.dry_run import dry_run, report

        with _with_next_step(args):
            options = _model_options(args)
            check = dry_run(
                args.model,
                args.dataset,
                model_options=options,
                dataset_options=_dataset_options(args),
                objectives=args.objectives,
                precision=args.precision,
                batch_size="auto" if args.batch_size is None else args.batch_size,
            )
        if args.write:
            print(_written(args.model, options), file=sys.stderr)
    except InfluenceError as error:
        if not args.json:
            raise
        print(json.dumps({"refused": str(error)}))
        return 1
    print(json.dumps(check.to_json()) if args.json else report(check))
    return 0


def _written(path: str, options: dict[str, Any]) -> str:
    """Write model.json beside weights that were just checked with these options; a sentence on it."""
    from influence_core.models import open_model
    from influence_core.models.model_json import write_spec

    model = open_model(path, **options)
    target = Path(model.path or path).with_name("model.json")
    done = "Replaced" if target.exists() else "Wrote"
    write_spec(target, model.architecture, model.classes, model.preprocessing)
    return f"{done} {target}: architecture, classes and preprocessing need not be given any more."


@contextmanager
def _with_next_step(args: argparse.Namespace) -> Iterator[None]:
    """Add to a refusal that asks what the weights are the command that says it."""
    try:
        yield
    except UnknownModelError as error:
        from influence_core.inputs.proposal import proposal

        given = {
            "architecture": args.architecture,
            "classes": args.classes,
            "preprocessing": args.preprocessing,
            "weights-key": args.weights_key,
        }
        weights = args.model or str(_carried(args.dataset))
        line = proposal(weights, args.dataset, error.guesses, given, _dataset_options(args))
        raise UnknownModelError(f"{error}{line}", error.guesses) from error


def _analyze(args: argparse.Namespace) -> int:
    print("Loading torch, the dataset and the model.", file=sys.stderr)
    from influence_core.judging.expected_errors import expected_errors
    from influence_core.scores.gradient_map import MapProcess

    with closing(MapProcess(seed=args.seed)) as drawing:  # compiles while torch is imported
        run = _analyzed(args, drawing)
    results = run.description["results"]
    if results["validation_mix"]:
        print(results["validation_mix"], file=sys.stderr)
    errors = expected_errors(run.samples["suspicion"].to_numpy(), results["noise_support"])
    print(
        f"{results['flagged']:,} of {len(run.samples):,} training labels are in doubt; "
        f"about {errors.value:,.0f} are wrong in all, between {errors.low:,.0f} and {errors.high:,.0f}.\n"
        f"The run is in {args.out}. To look at it: influence app --runs {args.out.parent}"
    )
    return 0


def _analyzed(args: argparse.Namespace, drawing: MapProcess) -> Run:
    from influence_core.analysis.analyze import analyze

    report = _reporting(args)
    with _with_next_step(args):
        model, dataset = _opened(args, report)
    _say_doubts(model, dataset)
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
        on_progress=report,
    )


def _reporting(args: argparse.Namespace) -> Report:
    """Progress on screen and in the run folder, which is made at the first step: a refusal leaves none behind."""
    from influence_core.run_files.progress import STAGES, TRAINING, ProgressWriter

    stages = STAGES if args.model or _carried(args.dataset) else (TRAINING, *STAGES)
    shown, kept = bar(stages), []

    def report(stage: str, done: int, total: int) -> None:
        if not kept:
            args.out.mkdir(parents=True, exist_ok=True)
            kept.append(ProgressWriter(args.out, stages))
        kept[0](stage, done, total)
        shown(stage, done, total)

    return report


def _carried(dataset: str) -> Path | None:
    from influence_core.models.opened import carried_weights

    return carried_weights(Path(dataset))


def _opened(args: argparse.Namespace, report: Report) -> tuple[OpenedModel, Dataset]:
    """The model with its dataset; where none was named and none lies in the dataset, a small one is trained."""
    from influence_core.inputs.pair import open_pair

    options, weights = _model_options(args), args.model or _carried(args.dataset)
    if weights is not None:
        return open_pair(weights, args.dataset, model_options=options, dataset_options=_dataset_options(args))
    if any(options.values()):
        raise ModelError(
            f"{args.dataset} holds no weights (model.safetensors), and no --model was named for the other options. "
            "Name the weights with --model FILE; or leave --architecture, --classes, --preprocessing and --weights-key "
            "out, and a small model is trained."
        )
    return _trained(args, report)


def _trained(args: argparse.Namespace, report: Report) -> tuple[OpenedModel, Dataset]:
    from influence_core.data import open_dataset
    from influence_core.inputs.pair import paired
    from influence_core.objectives import resolved
    from influence_core.training.first_model import trained_model

    dataset = open_dataset(args.dataset, **_dataset_options(args))
    resolved(args.objectives, dataset.classes)  # refused before minutes of training, not after
    print(
        f"No --model was named and {args.dataset} holds none: a small one is trained on its training samples first, "
        f"and kept in {args.out / 'model'}.",
        file=sys.stderr,
    )
    model = trained_model(dataset, {"seed": args.seed}, args.out / "model", report)
    return model, paired(model, dataset)


def _say_doubts(model: OpenedModel, dataset: Dataset) -> None:
    """Print what was noticed of the data, the weights, and the model on its validation samples."""
    from influence_core.engine.plausibility import doubts
    from influence_core.inputs.facts import in_model_format

    for note in (*dataset.notes, *model.notes, *doubts(model, in_model_format(dataset.val, model))):
        print(note, file=sys.stderr)
