"""The same work without a browser: influence check, analyze, verify, report, export, app.

    influence check sample_data/fashion/model.safetensors sample_data/fashion
    influence analyze sample_data/fashion --out runs/fashion
    influence verify runs/fashion
    influence report runs/fashion --out report.html
    influence export runs/fashion --out corrected
    influence app

What goes wrong on purpose is one sentence on standard error and exit code 1; a Ctrl-C keeps finished shards.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from influence_core.cli.repairs import add_commands
from influence_core.errors import InfluenceError

if TYPE_CHECKING:
    from influence_core.runs.run import Run
    from influence_core.scores.gradient_map import MapProcess

HERE = Path(__file__).resolve().parent.parent
BAR = 24


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except InfluenceError as error:
        print(f"influence: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninfluence: stopped. Finished shards are kept; the same command continues.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="influence", description="Which training samples hurt the model, and why?"
    )
    commands = parser.add_subparsers(
        required=True, metavar="check | analyze | verify | report | export | app"
    )

    check = commands.add_parser("check", help="say what an analysis would do and cost, or why it is refused")
    check.add_argument("model", metavar="MODEL", help="weights, or a folder with model.safetensors")
    check.add_argument("dataset", metavar="DATASET", help="folder, .zip, .csv, .parquet or .npz")
    check.add_argument("--architecture", help="its name, when there is no model.json beside the weights")
    check.add_argument("--classes", metavar="A,B,...", help="class names in the order of the model's outputs")
    _add_settings(check)
    check.add_argument("--json", action="store_true", help="print facts instead of a table")
    check.set_defaults(run=_check)

    analyze = commands.add_parser("analyze", help="score every training sample and write a run folder")
    analyze.add_argument(
        "dataset", help="folder, .zip, .csv, .parquet or .npz; may carry model.safetensors and model.json"
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

    add_commands(commands, _bar)

    export = commands.add_parser("export", help="write what was decided: tables, images, log")
    export.add_argument("folder", type=Path, metavar="RUN")
    export.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    export.set_defaults(run=_export)

    app = commands.add_parser("app", help="open the app in a browser")
    app.add_argument("--port", type=int, default=8501)
    app.add_argument("--runs", type=Path, help="folder of the runs; default: ./runs")
    app.add_argument("--no-browser", action="store_true", help="only serve")
    app.set_defaults(run=_app)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """What decides the cost of an analysis; the same words for the check before it."""
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


def _check(chosen: argparse.Namespace) -> int:
    """Facts on standard output; with --json a refusal too, for the page that asks."""
    try:
        from influence_core.analysis.dry_run import checked, report

        found = checked(
            chosen.model,
            chosen.dataset,
            architecture=chosen.architecture,
            classes=[name.strip() for name in chosen.classes.split(",")] if chosen.classes else None,
            objectives=chosen.objectives,
            precision=chosen.precision,
            batch_size="auto" if chosen.batch_size is None else chosen.batch_size,
            skip_unreadable=chosen.skip_unreadable,
            label=chosen.label,
        )
    except InfluenceError as error:
        if not chosen.json:
            raise
        print(json.dumps({"refused": str(error)}))
        return 1
    print(json.dumps(found.to_json()) if chosen.json else report(found))
    return 0


def _analyze(chosen: argparse.Namespace) -> int:
    print("Loading torch, the dataset and the model.", file=sys.stderr)
    from influence_core.scores.gradient_map import MapProcess

    with closing(MapProcess(seed=chosen.seed)) as drawing:  # compiles while we import torch
        run = _analyzed(chosen, drawing)
    found = run.description["results"]
    print(
        f"{found['flagged']:,} of {len(run.samples):,} training labels are in doubt; "
        f"about {found['expected_errors']:,.0f} wrong ones are expected in all.\n"
        f"The run is in {chosen.out}. To look at it: influence app --runs {chosen.out.parent}"
    )
    return 0


def _analyzed(chosen: argparse.Namespace, drawing: MapProcess) -> Run:
    from influence_core.analysis.analyze import analyze
    from influence_core.data import open_dataset
    from influence_core.models import open_model
    from influence_core.run_files.progress import STAGES, ProgressWriter

    dataset = open_dataset(chosen.dataset, skip_unreadable=chosen.skip_unreadable, label=chosen.label)
    weights = chosen.model or Path(chosen.dataset) / "model.safetensors"
    model = open_model(weights, architecture=chosen.architecture)
    if set(dataset.classes) == set(model.classes):
        dataset = dataset.with_classes(model.classes)  # the order of the model's outputs decides
    for note in dataset.notes:
        print(note, file=sys.stderr)
    chosen.out.mkdir(parents=True, exist_ok=True)
    keep = ProgressWriter(chosen.out, STAGES)
    shown = _bar({name: title for name, title, _ in STAGES})

    def on_progress(stage: str, done: int, total: int) -> None:
        keep(stage, done, total)
        shown(stage, done, total)

    run = analyze(
        model,
        dataset.train,
        dataset.val,
        test=dataset.test,
        objectives=chosen.objectives,
        precision=chosen.precision,
        batch_size="auto" if chosen.batch_size is None else chosen.batch_size,
        seed=chosen.seed,
        out=chosen.out,
        source=dataset,
        drawing=drawing,
        on_progress=on_progress,
    )
    keep.end("finished")
    return run


def _bar(titles: dict[str, str]) -> Callable[[str, int, int], None]:
    """A line that fills on a terminal; one line a stage where nobody watches."""
    watched, seen = sys.stderr.isatty(), set()

    def draw(stage: str, done: int, total: int) -> None:
        if watched:
            filled = BAR * done // max(1, total)
            end = "\n" if done >= total else ""
            line = f"\r{titles[stage]:<34} [{'#' * filled}{'.' * (BAR - filled)}] {done:,} of {total:,} {end}"
            print(line, end="", file=sys.stderr, flush=True)
        elif stage not in seen:
            seen.add(stage)
            print(titles[stage], file=sys.stderr, flush=True)

    return draw


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


def _app(chosen: argparse.Namespace) -> int:
    script = next(
        (place for place in (HERE / "_app" / "app.py", HERE.parent / "app.py") if place.exists()), None
    )
    if script is None:
        raise InfluenceError(
            f"The app is not beside the package: neither {HERE / '_app'} nor {HERE.parent} holds app.py. "
            "Install it again with: pip install influence-explorer"
        )
    environment = dict(os.environ)
    if chosen.runs is not None:
        environment["INFLUENCE_RUNS"] = str(chosen.runs.resolve())
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(chosen.port)]
    url = f"http://127.0.0.1:{chosen.port}"
    if not chosen.no_browser:
        threading.Thread(target=_open_when_ready, args=(url,), daemon=True).start()
    _compile_ahead()
    print(f"Influence Explorer is at {url} (Ctrl-C stops it; running analyses go on).")
    server = subprocess.Popen(command, env=environment)
    # whoever ends this command ends the server: otherwise it would go on, unseen, on the same port
    signal.signal(signal.SIGTERM, lambda number, frame: server.terminate())
    try:
        return server.wait()
    finally:
        server.terminate()


def _compile_ahead() -> None:
    """Let the map and the engine's loops compile at low priority while the person reads the first page."""
    for module in (
        ["influence_core.scores.gradient_map", "0"],
        ["influence_core.engine.kernels.compile_ahead"],
    ):
        subprocess.Popen(
            [sys.executable, "-m", *module],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _open_when_ready(url: str) -> None:
    """Open the browser once the server answers; give up quietly after a minute, the address is on screen."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                break
        except OSError:
            time.sleep(0.5)
    else:
        return
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
