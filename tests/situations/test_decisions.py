"""Decisions on databases that stop, break, fill up, grow and are shared."""

import errno
import fcntl
import gc
import importlib.util
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from influence_core.decisions import log as decision_log
from influence_core.decisions import schema, transactions
from influence_core.decisions.log import DecisionLog, Vote, open_log
from influence_core.errors import DecisionError
from influence_core.system.safe_tables import read_csv, write_csv
from tests.making.refusals import assert_refused

RUN = "run"


def keep(log: DecisionLog, event: str, sample: str = "a", revision: int = 0, who: str = "ann"):
    return log.record(
        event_id=event, run=RUN, action="keep", votes=[Vote(sample, revision, "coat")], reviewer=who
    )


def standing(log: DecisionLog) -> dict[str, str]:
    """The event that counts, by sample."""
    return log.current(RUN)["event_id"].to_dict()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.sqlite"


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A PostgreSQL server of this test alone."""

    folder: Path
    programs: Path
    port: int

    @property
    def address(self) -> str:
        return f"postgresql+psycopg://reviewing@127.0.0.1:{self.port}/postgres"

    def control(self, action: str) -> None:
        options = f"-p {self.port} -k {self.folder} -c fsync=off -c listen_addresses=127.0.0.1"
        self.run(
            "pg_ctl",
            "-D",
            self.folder / "data",
            "-l",
            self.folder / "log",
            "-w",
            "-m",
            "fast",
            "-o",
            options,
            action,
        )

    def run(self, program: str, *arguments: object) -> None:
        """Run a program of the server, which refuses to be root's."""
        user = "nobody" if os.geteuid() == 0 else None
        command = [self.programs / program, *map(str, arguments)]
        subprocess.run(
            command,
            check=True,
            user=user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(self.folder)},
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = [shutil.which("pg_ctl"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")))]
    found = next((Path(program).resolve().parent for program in programs if program), None)
    if found is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs a PostgreSQL server (Debian: postgresql) and psycopg (pip: psycopg[binary])")
    folder = Path(tempfile.mkdtemp(prefix="influence-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    server = Server(folder, found, 40_000 + os.getpid() % 20_000)
    server.run("initdb", "-D", folder / "data", "-A", "trust", "-U", "reviewing", "--no-sync")
    server.control("start")
    yield server
    server.control("stop")
    shutil.rmtree(folder)


@pytest.fixture
def on_server(server: Server) -> Iterator[DecisionLog]:
    """An empty log on the server."""
    emptied = sa.create_engine(server.address)
    with emptied.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    emptied.dispose()
    log = open_log(server.address)
    yield log
    log.close()


def test_the_same_decision_sent_twice_is_no_conflict_on_a_server(on_server):
    keep(on_server, "e1")
    assert keep(on_server, "e2").written == ("a",), "a reviewer is in conflict with himself"
    assert on_server.conflicts(RUN).empty


def test_a_database_server_that_was_restarted_between_is_not_noticed(server, on_server):
    keep(on_server, "e1")
    assert standing(on_server) == {"a": "e1"}
    server.control("restart")
    assert standing(on_server) == {"a": "e1"}, "a read after a restart uses a dead connection"
    server.control("restart")
    assert keep(on_server, "e2", "b").written == ("b",), "a decision after a restart uses a dead connection"
    assert standing(on_server) == {"a": "e1", "b": "e2"}


def test_a_database_server_that_is_down_is_told_in_words_without_its_address(server, on_server):
    keep(on_server, "e1")
    server.control("stop")
    try:
        asked = (
            on_server.current,
            on_server.revisions,
            on_server.conflicts,
            on_server.events,
            on_server.count,
        )
        said = []
        for ask in (*(lambda ask=ask: ask(RUN) for ask in asked), lambda: keep(on_server, "e2", "b")):
            with assert_refused(DecisionError, "does not answer", "try again") as caught:
                ask()
            said.append(str(caught.value))
        with assert_refused(DecisionError, "does not answer") as caught:
            open_log(server.address)
        for message in (*said, str(caught.value)):
            assert not any(
                part in message for part in ("127.0.0.1", str(server.port), "reviewing", str(server.folder))
            )
    finally:
        server.control("start")
    assert keep(on_server, "e2", "b").written == ("b",) and standing(on_server) == {"a": "e1", "b": "e2"}


def test_a_decision_whose_connection_breaks_is_written_once(server, on_server):
    keep(on_server, "e1")
    other = sa.create_engine(server.address, isolation_level="AUTOCOMMIT")
    outcomes: list[object] = []
    with other.connect() as holder, other.connect() as killer:
        holder.exec_driver_sql("BEGIN; LOCK TABLE deliveries IN EXCLUSIVE MODE")
        writer = threading.Thread(target=lambda: outcomes.append(keep(on_server, "e2", "b")))
        writer.start()
        killed = 0
        while not killed:
            waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            killed = len(killer.exec_driver_sql(waiting).fetchall())
        holder.exec_driver_sql("COMMIT")
        writer.join()
    other.dispose()
    assert [outcome.written for outcome in outcomes] == [("b",)], "a broken connection is not replaced"
    assert on_server.count(RUN) == 2


def test_a_decision_that_is_slower_to_commit_than_a_later_one_is_not_missed(on_server):
    """PostgreSQL gives a number when a row is written, and shows the row when its transaction ends."""
    keep(on_server, "e1")
    slow = {
        "run": RUN,
        "event_id": "slow",
        "ordinal": 0,
        "sample_id": "s",
        "action": "keep",
        "reviewer": "bob",
    }
    slow |= {
        "time": "2026-11-29T12:00:00.000000Z",
        "expected_revision": 0,
        "revision": 1,
        "status": "accepted",
    }
    with transactions.writing(on_server._engine) as connection:
        connection.execute(sa.insert(schema.events), slow)
        keep(on_server, "e2", "b")
        assert standing(on_server) == {"a": "e1", "b": "e2"}
    assert standing(on_server) == {"a": "e1", "b": "e2", "s": "slow"}, (
        "a decision is never seen until a restart"
    )


def test_a_run_newer_than_the_statistics_of_the_server_is_read_at_once(on_server):
    """PostgreSQL then believes that the run has one event: 20,000 of them took longer than 20 s."""
    columns = "run, event_id, ordinal, sample_id, action, reviewer, time, expected_revision, revision, status"
    values = "run, run || n, 0, 's' || mod(n, 2000), 'keep', 'ann', '2026-11-29', n / 2000, n / 2000 + 1, 'accepted'"
    with on_server._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE events SET (autovacuum_enabled = off)")
        for run in ("old", "older", RUN):
            rows = f"(SELECT '{run}') AS of(run), generate_series(0, 19999) AS n"
            connection.exec_driver_sql(f"INSERT INTO events ({columns}) SELECT {values} FROM {rows}")
            if run == "older":
                connection.exec_driver_sql("ANALYZE events")
    impatient(on_server)
    assert on_server.current(RUN)["revision"].tolist() == [10] * 2000, (
        "each sample is looked up among all events"
    )


def test_nothing_is_left_to_undo_in_a_run_newer_than_the_statistics(on_server):
    """Each decision undone was looked for among all those of the run: 20,000 of them took minutes."""
    half = "n < 20000"
    values = (
        f"CASE WHEN {half} THEN 'keep' ELSE 'undo' END, 'ann', CASE WHEN NOT {half} THEN run || n - 20000 END"
    )
    with on_server._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE deliveries SET (autovacuum_enabled = off)")
        for run in ("old", "older", RUN):
            rows = f"(SELECT '{run}') AS of(run), generate_series(0, 39999) AS n"
            connection.exec_driver_sql(
                f"INSERT INTO deliveries (run, event_id, action, reviewer, target, content) "
                f"SELECT run, run || n, {values}, '' FROM {rows}"
            )
            if run == "older":
                connection.exec_driver_sql("ANALYZE deliveries")
    impatient(on_server)
    assert on_server.undo(event_id="u", run=RUN, reviewer="ann").written == ()


def impatient(log: DecisionLog) -> None:
    """Let the server end whatever takes longer than 10 s."""
    listen = sa.event.listens_for(log._engine, "begin")
    listen(lambda connection: connection.exec_driver_sql("SET LOCAL statement_timeout = '10s'"))


def test_a_slow_writer_is_not_missed_however_many_looks_it_takes(on_server):
    """Only the events are counted that a slow writer may still come in between; he keeps them from being settled."""
    slow = {"run": RUN, "ordinal": 0, "sample_id": "s", "action": "keep", "reviewer": "bob"}
    slow |= {
        "time": "2026-11-29T12:00:00.000000Z",
        "expected_revision": 0,
        "revision": 1,
        "status": "accepted",
    }
    expected = {}
    for turn in range(3):
        slow |= {"event_id": f"slow{turn}", "sample_id": f"s{turn}"}
        with transactions.writing(on_server._engine) as connection:
            connection.execute(sa.insert(schema.events), slow)
            for number in range(4):
                keep(on_server, event := f"e{turn}-{number}", event)
                expected[event] = event
                assert standing(on_server) == expected
        expected[f"s{turn}"] = f"slow{turn}"
        assert standing(on_server) == expected, "a decision is never seen until a restart"
        for _ in range(turn):  # then settled or not
            standing(on_server)
    for _ in range(3):
        standing(on_server)
    known = on_server._known[RUN]
    assert known.newest is not None and (known.settled, known.count) == (known.newest[0], 0), (
        "all events are counted at every look: 0.2 s for a million"
    )


def test_a_sample_id_too_long_for_postgresql_is_told_in_words(on_server):
    letters = random.Random(0)
    sample = "".join(chr(letters.randrange(0x4E00, 0x9000)) for _ in range(2000))
    with assert_refused(DecisionError, "more than 2,600 bytes", "shorter ids"):
        keep(on_server, "e", sample)


# --- files that go, break and are locked ----------------------------------------------------------------------------


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    open_log(path).close()


def overwritten(path: Path) -> None:
    for file in path.parent.glob("decisions.sqlite*"):
        if not file.name.endswith(("shm", "line", "next")):
            file.write_bytes(b"no database" * 4_000)


def emptied(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE events")
    connection.close()


def cut(path: Path) -> None:
    os.truncate(path, 512)
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)


@pytest.mark.parametrize("accident", [removed, replaced, overwritten, emptied, cut])
def test_a_log_that_is_removed_replaced_or_damaged_in_use_is_told_in_words(path, accident):
    log = open_log(path)
    keep(log, "e1")
    log._engine.dispose()  # nothing of the file is left in memory
    accident(path)
    for ask in (lambda: log.current(RUN), lambda: log.events(RUN), lambda: keep(log, "e2", "b")):
        with assert_refused(DecisionError, ".") as caught:
            ask()
        assert str(path.parent) not in str(caught.value) and "sqlite3" not in str(caught.value), str(
            caught.value
        )


@pytest.mark.parametrize("accident", [overwritten, cut])
def test_a_damaged_log_cannot_be_opened_and_says_what_to_do(path, accident):
    open_log(path).close()
    keep(log := open_log(path), "e1")
    log.close()
    accident(path)
    with assert_refused(
        DecisionError, "decisions.sqlite cannot be opened", "damaged", "Put a copy of the log back"
    ):
        open_log(path)


def test_a_log_that_another_program_locks_can_be_read_and_refuses_decisions_in_words(path, monkeypatch):
    monkeypatch.setattr(transactions, "BUSY", 0.2)
    log = open_log(path)
    keep(log, "e1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert standing(log) == {"a": "e1"}
    with assert_refused(DecisionError, "was not written", "Close programs that have the log open"):
        keep(log, "e2", "b")
    other.execute("ROLLBACK")
    other.close()
    assert keep(log, "e2", "b").written == ("b",)
    log.close()


def test_a_log_that_may_not_be_written_is_read_and_refuses_decisions_in_words(path):
    log = open_log(path)
    keep(log, "e1")
    only_read = open_log(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert standing(only_read) == {"a": "e1"}
    with assert_refused(DecisionError, "may not write it", "Give this user the right"):
        keep(only_read, "e2")
    only_read.close()
    log.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("sqlite://", "in memory would be lost"),
        ("sqlite:///:memory:", "in memory would be lost"),
        ("mysql://zoe:secret@server/log", "cannot be kept in 'mysql'"),
        ("postgres://zoe:secret@127.0.0.1:1/log", "cannot be opened"),
        ("postgresql://zoe:secret@127.0.0.1:1/log", "cannot be opened"),
        ("postgresql+psycopg://zoe:secret@127.0.0.1:1/log", "cannot be opened"),
        ("postgresql+psycopg://zoe:secret@nowhere.invalid/log", "cannot be opened"),
        ("postgresql+nodriver://zoe:secret@127.0.0.1/log", "not known here"),
        ("postgresql://zoe:secret@127.0.0.1:port/log", "cannot be understood"),
        ("://", "cannot be understood"),
        ("{folder}", "cannot be opened"),
        ("{folder}/file/below", "cannot be opened"),
        ("sqlite:///{folder}/file/below", "cannot be opened"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_without_a_word_of_it(tmp_path, address, words):
    (tmp_path / "file").write_text("not a folder")
    with assert_refused(DecisionError, words) as caught:
        open_log(address.format(folder=tmp_path))
    assert not any(
        part in str(caught.value) for part in ("secret", "zoe", "127.0.0.1", "nowhere", str(tmp_path))
    )


# --- disks with few locks or none -----------------------------------------------------------------------------------


def as_on_nfs(descriptor: int, operation: int) -> None:
    """An exclusive lock needs a file that is open for writing."""
    if operation & fcntl.LOCK_EX and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")


def as_without_locks(_descriptor: int, _operation: int) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


def test_a_log_on_nfs_takes_decisions(path, monkeypatch):
    monkeypatch.setattr("influence_core.system.turns.fcntl.flock", as_on_nfs)
    log = open_log(path)
    assert keep(log, "e1").written == ("a",), "every decision of whose home is on NFS was refused"
    log.close()


def test_a_log_on_a_disk_without_locks_is_refused_with_the_way_out(path, monkeypatch):
    monkeypatch.setattr("influence_core.system.turns.fcntl.flock", as_without_locks)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with assert_refused(DecisionError, "has no locks", "on a disk of this machine"):
            open_log(path)
    gc.collect()  # the connections of what was not opened
    assert len(os.listdir("/proc/self/fd")) < before + 5, "each try leaves a file open"


# --- full disks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_log_is_not_opened_on_a_disk_that_is_nearly_full(small_disk):
    """SQLite maps its index of the log: a page of it that finds no room ends the process with SIGBUS."""
    (small_disk / "other").write_bytes(bytes(3_400_000))
    with assert_refused(DecisionError, "disk", "is full", "kB are free", "Make room"):
        open_log(small_disk / "decisions.sqlite")
    assert [file.name for file in small_disk.iterdir()] == ["other"], "a refused log left files behind"


def test_a_disk_in_memory_without_a_limit_is_not_full(path, monkeypatch):
    """It tells 0 bytes of 0."""
    monkeypatch.setattr(transactions.shutil, "disk_usage", lambda _folder: (0, 0, 0))
    log = open_log(path)
    assert keep(log, "e1").written == ("a",)
    log.close()


def test_a_disk_that_fills_up_refuses_decisions_and_loses_none(small_disk):
    log = open_log(small_disk / "decisions.sqlite")
    written = {f"s{number}": f"e{number}" for number in range(5)}
    for sample, event in written.items():
        keep(log, event, sample)
    (small_disk / "other").write_bytes(bytes(3_200_000))
    with assert_refused(DecisionError, "is full", "Nothing was written", "Make room"):
        keep(log, "e9", "s9")
    assert standing(log) == written, "a full disk must not hide what was decided"
    (small_disk / "other").unlink()
    assert keep(log, "e9", "s9").written == ("s9",)
    assert standing(log) == written | {"s9": "e9"}
    log.close()


# --- long logs ------------------------------------------------------------------------------------------------------


def replayed(events: pd.DataFrame) -> dict[str, str]:
    """The slow truth: every event in order, a stack of decisions for each sample."""
    stacks: dict[str, list[tuple[int, str]]] = {}
    for row in events[events["status"] == "accepted"].itertuples():
        stack = stacks.setdefault(row.sample_id, [])
        if pd.isna(row.undoes):
            stack.append((row.id, row.event_id))
        else:
            assert stack.pop()[0] == row.undoes
    return {sample: stack[-1][1] for sample, stack in stacks.items() if stack}


def decide_at_random(logs: list[DecisionLog], seed: int, turns: int) -> None:
    """Decide, come too late and undo, on few samples, so that undone decisions lie on undone ones."""
    draw, revisions = random.Random(seed), dict.fromkeys("abcd", 0)
    for turn in range(turns):
        log, who = draw.choice(logs), draw.choice(["ann", "bob"])
        if draw.random() < 0.45:
            log.undo(event_id=f"{seed}u{turn}", run=RUN, reviewer=who)
        else:
            samples = draw.sample("abcd", draw.randint(1, 3))
            votes = [Vote(sample, revisions[sample], "coat") for sample in samples]
            log.record(event_id=f"{seed}e{turn}", run=RUN, action="keep", votes=votes, reviewer=who)
        if draw.random() < 0.8:  # else somebody decides on what is gone
            revisions |= log.revisions(RUN)


@pytest.mark.parametrize("seed", range(4))
def test_what_stands_is_the_same_read_at_once_continued_or_replayed(path, seed, monkeypatch):
    logs = [open_log(path), open_log(path)]
    for part in range(4):
        decide_at_random(logs, seed * 10 + part, 25)
        fresh = open_log(path)
        for log in (*logs, fresh):
            assert standing(log) == replayed(log.events(RUN)), (
                "a decision that counts was forgotten, or one undone counts"
            )
            assert log.revisions(RUN) == fresh.revisions(RUN)
            pd.testing.assert_frame_equal(log.current(RUN), fresh.current(RUN))
            pd.testing.assert_frame_equal(log.conflicts(RUN), fresh.conflicts(RUN))
        fresh.close()
    for log in logs:
        log.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_stands_is_a_replay_while_others_write(database, path, request):
    address = path if database == "sqlite" else emptied_server(request)
    logs, errors = [open_log(address) for _ in range(4)], []

    def write(number: int) -> None:
        try:
            decide_at_random([logs[number]], 100 + number, 40)
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        standing(logs[3])  # continued at moments in which writers are on their way
    for writer in writers:
        writer.join()
    assert not errors
    fresh = open_log(address)
    for log in (*logs, fresh):
        assert standing(log) == replayed(fresh.events(RUN)), "a decision of a writer that was slow was missed"
        pd.testing.assert_frame_equal(log.current(RUN), fresh.current(RUN))
        pd.testing.assert_frame_equal(log.conflicts(RUN), fresh.conflicts(RUN))
    for log in (*logs, fresh):
        log.close()


def emptied_server(request: pytest.FixtureRequest) -> str:
    request.getfixturevalue("on_server")
    return request.getfixturevalue("server").address


def test_a_read_does_not_go_through_the_events(path):
    """What a million events cost: each query finds its rows by an index and needs no sorting."""
    log, asked = open_log(path), []
    decide_at_random([log], 1, 30)
    sa.event.listen(log._engine, "before_cursor_execute", lambda *call: asked.append(call[2:4]))
    log._known.clear()
    log.current(RUN)
    keep(log, "last", "last")
    log.undo(event_id="undo", run=RUN, reviewer="ann")
    log.conflicts(RUN)
    log.events(RUN)
    connection = sqlite3.connect(path)
    for statement, values in asked:
        if "events" not in statement or statement.startswith("INSERT"):
            continue
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
        slow = [
            step
            for step in plan
            if step.startswith("SCAN events")
            or ("TEMP B-TREE FOR ORDER" in step and "BY events.ordinal" not in statement)
        ]
        assert not slow, f"{slow} grows with the log, in: {statement}"
    log.close()


def test_an_older_copy_of_the_log_put_back_in_use_is_read_anew(path, tmp_path):
    log = open_log(path)
    keep(log, "e1")
    older = sqlite3.connect(tmp_path / "copy")
    sqlite3.connect(path).backup(older)
    keep(log, "e2", "b")
    assert standing(log) == {"a": "e1", "b": "e2"}
    older.backup(sqlite3.connect(path))
    assert standing(log) == {"a": "e1"}, "decisions that are in the log no more still count"
    keep(log, "e3", "c")
    other = open_log(path)
    keep(other, "e4", "d")
    assert standing(log) == standing(other) == {"a": "e1", "c": "e3", "d": "e4"}
    log.close()
    other.close()


def test_a_log_of_an_older_version_gets_what_it_lacks(path):
    log = open_log(path)
    keep(log, "e1")
    log.close()
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX events_by_run")
    connection.close()
    again = open_log(path)
    assert standing(again) == {"a": "e1"}
    with again._engine.connect() as opened:
        assert "events_by_run" in {index["name"] for index in sa.inspect(opened).get_indexes("events")}
    again.close()


def test_a_long_log_is_exported_in_parts_that_make_the_whole(path, tmp_path, monkeypatch):
    log = open_log(path)
    decide_at_random([log], 3, 40)
    whole = log.events(RUN)
    monkeypatch.setattr(decision_log, "PART", 7)
    parts = list(log.parts(RUN))
    assert max(map(len, parts)) == 7 and sum(map(len, parts)) == len(whole) == log.count(RUN)
    write_csv(whole, tmp_path / "whole.csv")
    assert write_csv(log.parts(RUN), tmp_path / "parts.csv") == len(whole)
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert read_csv(tmp_path / "parts.csv")["event_id"].tolist() == whole["event_id"].tolist()
    tally = log.tally(RUN)
    assert (
        tally.set_index(["reviewer", "action"])["events"].to_dict()
        == whole.value_counts(["reviewer", "action"]).to_dict()
    )
    assert [list(part.columns) for part in log.parts("another run")] == [list(whole.columns)]
    log.close()


# --- many writers ---------------------------------------------------------------------------------------------------

WRITER = """
import sys
from influence_core.decisions.log import Vote, open_log
log = open_log(sys.argv[1])
for number in range(100_000):
    log.record(event_id=f"{sys.argv[2]}-{number}", run="run", action="keep",
               votes=[Vote(f"{sys.argv[2]}-{number}", 0, "coat")], reviewer=sys.argv[2])
    print(number, flush=True)
"""


def test_a_reader_beside_writers_of_which_one_is_killed_misses_nothing(path):
    log = open_log(path)
    writers = {
        name: subprocess.Popen([sys.executable, "-c", WRITER, path, name], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    }
    for writer in writers.values():
        assert writer.stdout is not None and [writer.stdout.readline() for _ in range(5)]
    assert len(log.current(RUN)) >= 10
    writers["a"].send_signal(signal.SIGKILL)
    told = {"a": 5 + len(writers["a"].communicate()[0].splitlines())}
    log.current(RUN)
    writers["b"].send_signal(signal.SIGKILL)
    told["b"] = 5 + len(writers["b"].communicate()[0].splitlines())
    found = log.current(RUN).index.str[0].value_counts().to_dict()
    for name, number in told.items():
        assert number <= found[name] <= number + 1, "a decision that was told as written is not seen"
    fresh = open_log(path)
    assert standing(log) == standing(fresh) == replayed(fresh.events(RUN))
    fresh.close()
    log.close()
