"""`influence verify` and `influence report`: verify a repair and write a report from a shell.

influence verify runs/fashion --seeds 5                 the suggestions of the run from its own cut on
influence verify runs/fashion --decided                 all decisions
influence verify runs/fashion --top 50 --label shirt    the 50 most suspicious shirts
influence verify runs/adult --gap                       remove samples that widen a gap and hurt accuracy
influence report runs/fashion --out report.html
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence_core.cli.app import PACKAGE, app_folder
from influence_core.cli.bar import bar
from influence_core.errors import InfluenceError

if TYPE_CHECKING:
    from influence_core.repair.repairs import Repair
    from influence_core.runs.run import Run
    from influence_core.verification.results import Verification


def add_commands(commands: Any) -> None:
    """Add verify and report to the parser."""
    verify = commands.add_parser("verify", help="retrain with a repair and without, and compare")
    verify.add_argument("folder", type=Path, metavar="RUN")
    which = verify.add_mutually_exclusive_group()
    which.add_argument("--decided", action="store_true", help="all decisions")
    which.add_argument("--top", type=int, metavar="K", help="the K most suspicious samples")
    which.add_argument("--cut", type=float, metavar="S", help="everything from this suspicion on")
    which.add_argument(
        "--gap",
        nargs="?",
        const="",
        metavar="OBJECTIVE",
        help="the samples that widen a gap between groups most; default: the run's first fairness objective",
    )
    verify.add_argument("--label", help="only samples of this given label; with --top or --cut")
    verify.add_argument("--seeds", type=int, default=5, help="trainings an arm")
    verify.add_argument(
        "--groups", type=int, default=8, help="groups removed to judge the predictions; 0 = none"
    )
    verify.add_argument("--epochs", type=int, help="default: by the size of the data")
    verify.add_argument("--scrambled", action="store_true", help="add the harsher control arm")
    verify.add_argument("--workers", type=int, help="trainings side by side; default: one a processor")
    verify.set_defaults(run=_verify)

    report = commands.add_parser("report", help="one HTML file with what was found, changed and measured")
    report.add_argument("folder", type=Path, metavar="RUN")
    report.add_argument("--out", required=True, type=Path, metavar="FILE")
    report.set_defaults(run=_report)


def _verify(args: argparse.Namespace) -> int:
    print("Loading torch, the dataset and the model.", file=sys.stderr)
    from dataclasses import replace

    from influence_core.runs.run import open_run
    from influence_core.training.recipe import suggested
    from influence_core.verification.control_arms import ARMS
    from influence_core.verification.verify import STAGES, verify

    run = open_run(args.folder)
    facts = run.description["inputs"]
    recipe = suggested(facts["model"]["parameters"], facts["dataset"]["n_train"])
    verification = verify(
        run,
        _repair(args, run),
        seeds=args.seeds,
        recipe=replace(recipe, epochs=args.epochs) if args.epochs else recipe,
        arms=(*ARMS, "scrambled") if args.scrambled else ARMS,
        groups=args.groups,
        workers=args.workers,
        sized=args.gap is not None,
        on_progress=bar(STAGES),
    )
    print(table_of(verification))
    print(f"\n{verification.sentence()}\nThe verification is in {verification.folder}.")
    return 0


def table_of(verification: Verification) -> str:
    """The arms and their numbers as plain text."""
    lines = [f"{'arm':<12}{'changed':>9}{'accuracy':>10}  {'difference in points':<24}{'loss':>8}"]
    arms = verification.arms
    for name, arm in arms.items():
        effect, band = verification.difference(arm=name), ""
        if effect is not None:
            band = f"{100 * effect.value:+.2f} [{100 * effect.low:+.2f}, {100 * effect.high:+.2f}]"
        levels = arm["levels"]
        lines.append(
            f"{name:<12}{arm['changed']:>9,.0f}{levels['accuracy']:>10.4f}  {band:<24}{levels['loss']:>8.4f}"
        )
    for metric in verification.content.get("gaps", {}).values():
        sizes = ", ".join(f"{name} {100 * arm['levels'][metric]:.1f}" for name, arm in arms.items())
        lines.append(f"{metric}, points: {sizes}")
    recovered = {
        "the accuracy lost to wrong labels": verification.recovered,
        "what they cost in loss": verification.recovered_loss,
    }
    for what, share in recovered.items():
        if share is not None:
            lines.append(f"recovered {share.value:.0%} [{share.low:.0%}, {share.high:.0%}] of {what}")
    if (rank := verification.rank_correlation) is not None:
        lines.append(
            f"predicted beside measured: rank correlation {rank.value:.2f} [{rank.low:.2f}, {rank.high:.2f}]"
        )
    return "\n".join(lines)


def _repair(args: argparse.Namespace, run: Run) -> Repair:
    from influence_core.decisions.log import decision_log_for
    from influence_core.repair import repairs as repair
    from influence_core.repair.gap_repair import narrowing

    if args.label is not None and args.top is None and args.cut is None:
        raise InfluenceError("--label narrows --top or --cut down: give one of them with it.")
    if args.decided:
        return repair.decided(run, decision_log_for(args.folder.resolve().parent))
    if args.gap is not None:
        return narrowing(run, args.gap or None)
    if args.top is not None:
        return repair.most_suspicious(run, args.top, label=args.label)
    if args.cut is not None:
        return repair.above(run, args.cut, label=args.label)
    return repair.suggested(run)


def _report(args: argparse.Namespace) -> int:
    """Run the app's report writer in a separate process: the report has charts, which the core cannot draw."""
    paths = [str(app_folder()), str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "pages.ui.reports.html_report", str(args.folder), str(args.out)]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False
    ).returncode
