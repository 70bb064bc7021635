"""The report of a run as one HTML file that opens offline and prints.

    python -m pages.ui.reports.html_report RUN FILE        (influence report RUN --out FILE)

It covers what was flagged, changed and undone, predicted and measured, by whom, with versions and fingerprints. plotly
is in the file once. Every text from data, reviewers and paths is escaped, so none of it can become markup or code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from influence_core.cli.main import TRACEBACK, sentence
from influence_core.decisions.corrections import corrections, counts, not_checked
from influence_core.decisions.log import DecisionLog, decision_log_for
from influence_core.runs.run import Run, open_run
from influence_core.system import atomic
from influence_core.system.times import utc_now
from influence_core.verification.results import Verification, list_verifications
from pages.ui.charts import base as base_charts
from pages.ui.charts import verify as verify_charts
from pages.ui.words import formats
from pages.ui.words import overview as overview_words
from pages.ui.words import verify as verify_words

LISTED = 200  # changed samples in the table; the rest is in the downloads
STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;color:#212529;margin:0 auto;max-width:980px;
padding:32px 24px;background:#fff}
h1{font-size:26px;line-height:1.25;margin:0 0 8px}h2{font-size:19px;margin:36px 0 8px;border-top:1px solid #E9ECEF;
padding-top:20px}p{margin:6px 0}.grey{color:#666C72}.lead{font-size:22px;line-height:1.3;font-weight:600;margin:20px 0}
table{border-collapse:collapse;width:100%;margin:10px 0;font-size:13px;font-variant-numeric:tabular-nums}
th{text-align:left;border-bottom:2px solid #CED4DA;padding:4px 8px}td{border-bottom:1px solid #E9ECEF;padding:4px 8px;
overflow-wrap:anywhere}code{font-size:12px;overflow-wrap:anywhere}
@media print{body{padding:0;max-width:none}h2{break-after:avoid}tr,.chart{break-inside:avoid}}
"""


def html(run: Run, log: DecisionLog) -> str:
    """The report as one self-contained HTML document."""
    verified = list_verifications(run)
    findings = overview_words.find(run, float(run.description["results"]["cut"]), log.current(run.id))
    parts = [
        f"<h1>{escape(run.name)}: labels in doubt, what was changed, and what it did</h1>",
        f'<p class="grey">Influence Explorer, {escape(formats.moment(utc_now()))}</p>',
        f'<p class="lead">{escape(formats.restyled(verified[0].sentence()) if verified else findings.headline)}</p>',
        *_flagged(run, findings),
        *_decided(run, log),
        *(part for verification in verified for part in _verified(verification)),
        *([] if verified else ["<h2>Verified</h2><p>No repair has been verified yet.</p>"]),
        *_provenance(run, verified),
    ]
    body = "\n".join(parts)
    script = get_plotlyjs().replace("</script", "<\\/script")
    head = f'<meta charset="utf-8"><title>{escape(run.name)}</title><style>{STYLE}</style>'
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    return f"<!doctype html><html lang=en><head>{meta}{head}<script>{script}</script></head><body>{body}</body></html>"


def write(run_folder: Path, target: Path) -> Path:
    """Write the report of a run to a file."""
    run = open_run(run_folder)
    log = decision_log_for(run_folder.resolve().parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic.writing(target) as file:
        file.write(html(run, log).encode())
    return target


def _flagged(run: Run, findings: overview_words.Findings) -> Iterable[str]:
    yield "<h2>Flagged</h2>"
    in_doubt = (
        f"{formats.plural(findings.flagged, 'label')} {'is' if findings.flagged == 1 else 'are'} in doubt."
    )
    yield f"<p>{escape(findings.headline)} {in_doubt}</p>"
    rows = [
        (share.name, formats.count(share.flagged), formats.count(share.total), formats.percent(share.share))
        for share in findings.by_class
    ]
    yield table(pd.DataFrame(rows, columns=["Given label", "In doubt", "Samples", "Share"]))
    figure = base_charts.distribution(
        run.samples["suspicion"].to_numpy(), cut=findings.cut, high_is_suspicious=True, title="suspicion",
        cut_label=f"cut {formats.coefficient(findings.cut)}", theme="light", suspicion_scale=True,
    )  # fmt: skip
    yield chart(figure, "suspicion")


def _decided(run: Run, log: DecisionLog) -> Iterable[str]:
    counted, tally = counts(run, log), log.tally(run.id)
    undone = int(tally.loc[tally["action"] == "undo", "events"].sum())
    yield "<h2>Decided by people</h2>"
    yield (
        f"<p>{formats.count(counted.relabelled)} relabelled, {formats.count(counted.removed)} removed, "
        f"{formats.count(counted.kept)} kept, {formats.count(counted.undecided)} undecided; "
        f"{formats.plural(undone, 'decision')} undone. "
        f"{formats.plural(len(log.conflicts(run.id)), 'open conflict')}.</p>"
    )
    if said := not_checked(run):
        yield f"<p>{escape(formats.restyled(said))}</p>"
    if len(tally):
        yield table(pd.DataFrame(tally.to_numpy(), columns=["Reviewer", "Action", "Events"]))
    decided = corrections(run, log)
    if len(decided):
        columns = ["sample_id", "label", "corrected_label", "action", "reviewer", "time"]
        yield table(decided.reindex(columns=columns).head(LISTED).astype(object).fillna(""))
        yield _rest(len(decided), "decisions")


def _verified(verification: Verification) -> Iterable[str]:
    key = verification.folder.name
    yield f"<h2>Verified: {escape(verification.name)}</h2>"
    yield f'<p class="lead">{escape(formats.restyled(verification.sentence()))}</p>'
    if (control := verify_words.control_sentence(verification)) is not None:
        yield f"<p>{escape(control)}</p>"
    yield table(verify_words.arms_table(verification))
    yield chart(verify_charts.dumbbell(verification, theme="light"), f"dumbbell-{key}")
    yield table(verify_words.metrics_table(verification))
    if verification.finished and verification.content["points"]:
        yield f"<p>{escape(verify_words.fidelity_sentence(verification))}</p>"
        yield chart(verify_charts.fidelity(verification, theme="light"), f"fidelity-{key}")
    changes = verification.repair().changes
    yield f"<p>{formats.plural(len(changes), 'change')}, by {escape(', '.join(map(str, changes['by'].unique())))}:</p>"
    yield table(changes.reset_index().head(LISTED).astype(object).fillna(""))
    yield _rest(len(changes), "changes")
    recipe = ", ".join(f"{name} {value}" for name, value in verification.content["recipe"].items())
    yield f"<p class=grey>Recipe: {escape(recipe)}; {verification.content['seeds']} paired seeds.</p>"


def _provenance(run: Run, verified: list[Verification]) -> Iterable[str]:
    facts, rows = run.description["inputs"], []
    for kind in ("dataset", "model"):
        rows += [
            (kind, facts[kind].get("path") or "passed in Python"),
            (f"{kind} sha256", facts[kind]["fingerprint"]),
        ]
    rows += [("run", run.id), ("run finished", run.description.get("finished") or "")]
    rows += [(f"sha256 of {name}", seal["sha256"]) for name, seal in run.description["files"].items()]
    rows += [(name, value) for name, value in run.description.get("versions", {}).items()]
    for verification in verified:
        repair = verification.content["repair"]
        rows += [(f"repaired data, {repair['name']}", f"{repair['fingerprint']} from {repair['parent']}")]
    yield "<h2>Versions and fingerprints</h2>"
    yield table(pd.DataFrame(rows, columns=["What", "Value"]))


def table(frame: pd.DataFrame) -> str:
    """A table in which every cell and heading is text."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in frame.columns)
    rows = (
        "".join(f"<td>{escape(str(value))}</td>" for value in row) for row in frame.itertuples(index=False)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def chart(figure: go.Figure, key: str) -> str:
    """A chart as data and one call; `<` cannot end the script from inside a string."""
    data = (
        str(figure.to_json())
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
    name = "".join(letter if letter.isalnum() else "-" for letter in key)
    call = f'const f={data};Plotly.newPlot("{name}",f.data,f.layout,{{displayModeBar:false,responsive:true}})'
    return f'<div class="chart" id="{name}"></div><script>{{{call}}}</script>'


def _rest(total: int, noun: str) -> str:
    return f"<p class=grey>The first {LISTED} of {formats.count(total)} {noun}.</p>" if total > LISTED else ""


def main() -> int:
    try:
        print(f"The report is in {write(Path(sys.argv[1]), Path(sys.argv[2]))}.")
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"influence: {sentence(error, Path(sys.argv[2]))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
