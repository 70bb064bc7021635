"""Cost of the decision log: how it grows, and how long one decision takes while many people decide.

    python -m benchmarks.cost.decisions growth  [--log ADDRESS] [--events 10000 100000 1000000] [--samples 10000]
    python -m benchmarks.cost.decisions writers [--log ADDRESS] [--writers 20] [--each 500] [--killed 2]

ADDRESS is a file or a database, empty or not; default a file in the temporary folder. `growth` writes a run of so many
events (of 20, one is an undo and one came too late), then measures in fresh processes; memory is the peak above that of
the process before it reads. `writers` lets processes decide without a pause, kills some with SIGKILL, sends
what these had sent last again, and compares the log with what was told to each writer.
"""

import argparse
import json
import multiprocessing
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from influence_core.decisions import schema
from influence_core.decisions.log import Vote, open_log
from influence_core.system.safe_tables import write_csv

VOTES = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("question", choices=["growth", "writers"])
    parser.add_argument("--log", default=str(Path(tempfile.mkdtemp()) / "decisions.sqlite"))
    parser.add_argument("--events", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--killed", type=int, default=2)
    asked = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, python {sys.version.split()[0]}")
    if asked.question == "writers":
        writers(asked.log, asked.writers, asked.each, asked.killed)
        return
    for events in asked.events:
        run = f"growth {secrets.token_hex(4)}"
        fill(asked.log, run, events, asked.samples)
        measured = {step.__name__: _in_a_process(step, asked.log, run) for step in STEPS}
        print(f"{events:>9,}", json.dumps(measured))


def fill(address: str, run: str, events: int, samples: int) -> None:
    """Write the events of a run, past the checks of the log, in the state that these would have left."""
    engine = schema.open_engine(address)
    with engine.connect() as connection:
        base = connection.execute(
            sa.select(sa.func.coalesce(sa.func.max(schema.events.c.id), 0))
        ).scalar_one()
    for first in range(0, events, 50_000):
        numbers = range(first, min(first + 50_000, events))
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            rows = [_row(run, base, number, samples) for number in numbers]
            connection.execute(sa.insert(schema.events), rows)
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT setval('events_id_seq', (SELECT max(id) FROM events))")
    engine.dispose()


def _row(run: str, base: int, number: int, samples: int) -> dict[str, Any]:
    """The event of this number: samples in turn, round by round; in round 9 undone, in round 19 too late."""
    turn, sample = divmod(number, samples)
    late, undo = turn % 20 == 19, turn % 20 == 9
    accepted = turn - turn // 20
    return {
        "id": base + number + 1, "run": run, "event_id": f"e{number}", "ordinal": 0,
        "sample_id": f"train/{sample:07d}.png",
        "action": "undo" if undo else "keep", "label_before": "coat", "label_after": None,
        "suggested_label": "shirt", "suspicion": 0.5, "rank": sample, "reviewer": f"reviewer {turn % 7}",
        "time": "2026-11-29T12:00:00.000000+00:00", "seconds": 1.5, "expected_revision": accepted,
        "revision": None if late else accepted + 1, "status": "conflict" if late else "accepted",
        "undoes": base + number + 1 - samples if undo else None,
    }  # fmt: skip


def cold(address: str, run: str) -> float:
    """Seconds of the first read of a process."""
    log = open_log(address)
    return _seconds(lambda: log.current(run))


def warm(address: str, run: str) -> float:
    """Seconds of a read after one more decision."""
    log = open_log(address)
    log.current(run)
    _decide(log, run, 0)
    return _seconds(lambda: log.current(run))


def conflicts(address: str, run: str) -> float:
    """Seconds of reading the open conflicts cold."""
    log = open_log(address)
    return _seconds(lambda: log.conflicts(run))


def one_decision(address: str, run: str) -> float:
    """Median seconds of one decision."""
    log = open_log(address)
    known = log.revisions(run)
    return statistics.median(_seconds(lambda turn=turn: _decide(log, run, turn, known)) for turn in range(50))


def many_votes(address: str, run: str) -> float:
    """Seconds of one decision on 2,000 samples."""
    log = open_log(address)
    known = log.revisions(run)
    samples = sorted(known)[:VOTES]
    votes = [Vote(sample, known[sample], "coat") for sample in samples]
    return _seconds(
        lambda: log.record(event_id=secrets.token_hex(8), run=run, action="keep", votes=votes, reviewer="me")
    )


def undo(address: str, run: str) -> float:
    """Seconds of undoing it."""
    log = open_log(address)
    return _seconds(lambda: log.undo(event_id=secrets.token_hex(8), run=run, reviewer="me"))


def export(address: str, run: str) -> float:
    """Seconds of writing the whole log as CSV."""
    log = open_log(address)
    with tempfile.TemporaryDirectory() as folder:
        return _seconds(lambda: write_csv(log.parts(run), Path(folder) / "log.csv"))


STEPS = (cold, warm, conflicts, one_decision, many_votes, undo, export)


def _decide(log: Any, run: str, turn: int, known: dict[str, int] | None = None) -> None:
    sample = f"train/{turn:07d}.png"
    revision = (known or log.revisions(run)).get(sample, 0)
    log.record(
        event_id=secrets.token_hex(8),
        run=run,
        action="keep",
        votes=[Vote(sample, revision, "coat")],
        reviewer="one",
    )


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _in_a_process(step: Callable[[str, str], float], address: str, run: str) -> dict[str, float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, step, address, run).result()


def _measured(step: Callable[[str, str], float], address: str, run: str) -> dict[str, float]:
    open_log(address).current("no run")  # loads what every read needs
    before = _memory("VmRSS")
    seconds = step(address, run)
    return {"s": round(seconds, 4), "MB": round(_memory("VmHWM") - before)}


def _memory(what: str) -> float:
    """A memory count of this process by the kernel, in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def writers(address: str, number: int, each: int, killed: int) -> None:
    """Let many decide at once and compare the log with what each was told."""
    run = f"writers {secrets.token_hex(4)}"
    open_log(address).close()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(name) for name in range(number)]
        begin = context.Barrier(number + 1)
        children = [
            context.Process(target=_write, args=(address, run, name, each, file, begin))
            for name, file in enumerate(files)
        ]
        for child in children:
            child.start()
        begin.wait()
        begun = time.perf_counter()
        _kill(children[:killed], files, each // 2)
        for child in children:
            child.join()
        took = time.perf_counter() - begun
        _report(address, run, files, each, took)


def _kill(children: list[Any], files: list[Path], after: int) -> None:
    for child, file in zip(children, files, strict=False):
        while not file.exists() or len(file.read_text().splitlines()) < after:
            time.sleep(0.005)
        child.kill()


def _write(address: str, run: str, name: int, each: int, file: Path, begin: Any) -> None:
    """Decide on the samples all others decide on as well, and note what was told, one line a decision."""
    log = open_log(address)
    log.current(run)
    begin.wait()
    with file.open("a", buffering=1) as notes:
        for turn in range(each):
            begun = time.perf_counter()
            outcome = _one_of_many(log, run, name, turn)
            spent = time.perf_counter() - begun
            notes.write(json.dumps([f"{name}-{turn}", bool(outcome.written), spent]) + "\n")


def _one_of_many(log: Any, run: str, name: int, turn: int) -> Any:
    """A vote on a new sample, every fifth time on one that all writers want."""
    sample = f"shared {turn}" if turn % 5 == 0 else f"own {name}-{turn}"
    return log.record(
        event_id=f"{name}-{turn}",
        run=run,
        action="keep",
        votes=[Vote(sample, 0, "coat")],
        reviewer=f"r{name}",
    )


def _report(address: str, run: str, files: list[Path], each: int, took: float) -> None:
    log = open_log(address)
    told = [
        json.loads(line) for file in files for line in file.read_text().splitlines() if line.endswith("]")
    ]
    spent = sorted(seconds for _event, _written, seconds in told)
    for name, file in enumerate(files):  # what a killed writer had sent is sent again, as a browser does
        for turn in range(len(file.read_text().splitlines()), each):
            _one_of_many(log, run, name, turn)
    events = log.events(run)
    written = dict(zip(events["event_id"], events["revision"].notna(), strict=True))
    accepted = events[events["revision"].notna()]
    faults = {
        "lost": sum(event not in written for event, _written, _spent in told)
        + len(files) * each
        - len(written),
        "doubled": len(events) - len(written),
        "other than told": sum(written.get(event) != accept for event, accept, _spent in told),
        "accepted twice": int(accepted["sample_id"].duplicated().sum()),
    }
    quantile = {name: round(spent[int(share * (len(spent) - 1))] * 1e3) for name, share in QUANTILES.items()}
    print(f"{len(told):,} told in {took:.1f} s; ms {quantile}; {faults}")


QUANTILES = {"p50": 0.5, "p95": 0.95, "worst": 1.0}


if __name__ == "__main__":
    main()
