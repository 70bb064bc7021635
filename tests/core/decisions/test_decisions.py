"""No decision is lost, applied twice, or overwritten; what counts is what a replay of the events says."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from influence_core.decisions.log import DecisionLog, Outcome, Vote, decision_log_for, open_log
from influence_core.errors import DecisionError

# A second database to run everything on, such as postgresql+psycopg://user@host/empty_database.
OTHER_DATABASE = os.environ.get("INFLUENCE_TEST_DATABASE")
RUN = "fashion-20261122-083000-3f9a2c"


@pytest.fixture(params=["sqlite", *(["other"] if OTHER_DATABASE else [])])
def address(request, tmp_path: Path) -> str | Path:
    """Where an empty log may be made."""
    if request.param == "sqlite":
        return tmp_path / "deep" / "decisions.sqlite"
    emptied = sa.create_engine(str(OTHER_DATABASE))
    with emptied.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    emptied.dispose()
    return str(OTHER_DATABASE)


@pytest.fixture
def log(address) -> Iterator[DecisionLog]:
    """An empty log."""
    opened = open_log(address)
    yield opened
    opened.close()


def vote(sample: str, revision: int = 0, label: str | None = None) -> Vote:
    """A vote on a sample that was given the label coat."""
    return Vote(sample, revision, "coat", label)


def record(log: DecisionLog, event: str, action: str, *votes: Vote, reviewer: str = "ann") -> Outcome:
    """Record on the one run of these tests."""
    return log.record(event_id=event, run=RUN, action=action, votes=votes, reviewer=reviewer)


def undo(log: DecisionLog, event: str, reviewer: str = "ann", target: str | None = None) -> Outcome:
    """Undo on the one run of these tests."""
    return log.undo(event_id=event, run=RUN, reviewer=reviewer, target=target)


def actions(log: DecisionLog) -> dict[str, str]:
    """What counts, by sample."""
    return log.current(RUN)["action"].to_dict()


def test_a_decision_is_written_with_all_that_the_reviewer_saw(log):
    seen = Vote("a", 0, "coat", "shirt", suggested_label="shirt", suspicion=0.93, rank=4)
    log.record(event_id="e", run=RUN, action="relabel", votes=[seen], reviewer=" ann ", seconds=1.5)
    event = log.events(RUN).iloc[0].to_dict()
    shown = {"label_before": "coat", "label_after": "shirt", "suggested_label": "shirt", "suspicion": 0.93}
    assert event.items() >= (shown | {"rank": 4, "seconds": 1.5, "reviewer": "ann", "revision": 1}).items()
    now = log.current(RUN)
    assert now.loc["a", "label_after"] == "shirt" and now.loc["a", "revision"] == 1
    assert abs(now.loc["a", "time"] - pd.Timestamp.now("UTC")) < pd.Timedelta("1min"), "time is not UTC"


def test_an_event_delivered_again_changes_nothing_and_answers_the_same(log):
    first = record(log, "e", "keep", vote("b"), vote("a"))
    assert first == Outcome(("b", "a"), ())
    assert record(log, "e", "keep", vote("b"), vote("a")) == Outcome(("b", "a"), (), repeated=True)
    undo(log, "u")
    assert undo(log, "u") == Outcome(("b", "a"), (), repeated=True)
    assert len(log.events(RUN)) == 4 and actions(log) == {}


def test_an_undo_that_found_nothing_stays_nothing_when_delivered_again(log):
    assert undo(log, "u") == Outcome((), ())
    record(log, "e", "keep", vote("a"))
    assert undo(log, "u") == Outcome((), (), repeated=True)
    assert actions(log) == {"a": "keep"}, "a redelivered undo took back what was decided after it"


def test_an_event_id_that_means_something_else_is_refused(log):
    record(log, "e", "keep", vote("a"))
    with pytest.raises(DecisionError, match="used before"):
        record(log, "e", "remove", vote("a"))
    log.record(event_id="e", run="another run", action="remove", votes=[vote("a")], reviewer="ann")
    assert actions(log) == {"a": "keep"}


def test_who_comes_second_is_in_conflict_and_both_votes_are_kept(log):
    record(log, "e1", "keep", vote("a"), vote("b"))
    assert record(
        log, "e2", "relabel", vote("a", 0, "shirt"), vote("c", 0, "shirt"), reviewer="bob"
    ) == Outcome(("c",), ("a",))
    assert actions(log) == {"a": "keep", "b": "keep", "c": "relabel"}
    assert log.current(RUN)["conflict"].to_dict() == {"a": True, "b": False, "c": False}
    open_ones = log.conflicts(RUN)
    found = open_ones.iloc[0]
    assert len(open_ones) == 1 and (found["sample_id"], found["revision"]) == ("a", 1)
    assert (found["action"], found["reviewer"]) == ("keep", "ann")
    assert (found["other_action"], found["other_label_after"], found["other_reviewer"]) == (
        "relabel",
        "shirt",
        "bob",
    )
    record(log, "e3", "remove", vote("a", 1), reviewer="cleo")
    assert log.conflicts(RUN).empty and actions(log)["a"] == "remove"
    undo(log, "u", "cleo")
    assert len(log.conflicts(RUN)) == 1, "the conflict is open again: nobody's settling decision stands"


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_ones_own_decisions_are_no_conflict_whether_they_were_on_their_way_or_not(log, seen):
    """A tab that is reloaded sends again what the session before may have written; it cannot know how much of it."""
    record(log, "e1", "keep", vote("a"))
    undo(log, "e2")
    again = Vote("a", seen, "coat", own_events=("e1", "e2"))
    assert record(log, "e3", "remove", again) == Outcome(("a",), ()), "a reviewer is in conflict with himself"
    assert actions(log) == {"a": "remove"}


def test_the_same_decision_of_the_same_reviewer_is_agreement(log):
    """A tab that sent a key twice under two ids must not tell its only reviewer of a stranger."""
    record(log, "e1", "relabel", vote("a", 0, "shirt"), vote("b", 0, "shirt"))
    assert record(log, "e2", "relabel", vote("a", 0, "shirt")) == Outcome(("a",), ()), (
        "a conflict with oneself"
    )
    assert log.conflicts(RUN).empty and log.current(RUN).loc["a", "revision"] == 2
    assert len(log.events(RUN)) == 3, "the second event is recorded, like every other"
    another_label = record(log, "e3", "relabel", vote("b", 0, "dress"))
    another_action = record(log, "e4", "keep", vote("b"))
    another_reviewer = record(log, "e5", "relabel", vote("b", 0, "shirt"), reviewer="bob")
    for different in (another_label, another_action, another_reviewer):
        assert different == Outcome((), ("b",)), "only the same decision of the same reviewer is agreement"
    undo(log, "u", target="e2")
    assert actions(log)["a"] == "relabel", "the first of two equal decisions still stands"


def test_agreement_is_with_what_stands_not_with_what_was_undone(log):
    record(log, "e1", "keep", vote("a"))
    undo(log, "u")
    assert record(log, "e2", "keep", vote("a")) == Outcome((), ("a",)), "what was taken back counts again"


def test_thousands_that_agree_are_judged_in_parts(log):
    many = [vote(f"s{i}") for i in range(2_500)]
    record(log, "e1", "keep", *many)
    assert len(record(log, "e2", "keep", *many).written) == 2_500


def test_own_decisions_do_not_hide_somebody_elses(log):
    record(log, "e1", "keep", vote("a"), reviewer="bob")
    assert record(log, "e2", "remove", vote("a")) == Outcome((), ("a",))
    then = Vote("a", 0, "coat", own_events=("e2",))
    assert record(log, "e3", "remove", then) == Outcome((), ("a",)), (
        "the second key on a sample won over a decision its reviewer had never seen"
    )
    assert record(log, "e4", "remove", vote("a", 2)) == Outcome((), ("a",)), "a revision nobody made was seen"
    assert actions(log) == {"a": "keep"}


def test_undoing_the_late_vote_withdraws_it(log):
    record(log, "e1", "keep", vote("a"))
    record(log, "e2", "remove", vote("a"), reviewer="bob")
    assert undo(log, "u", "bob") == Outcome(("a",), ())
    assert log.conflicts(RUN).empty and actions(log) == {"a": "keep"} and log.revisions(RUN) == {"a": 1}


def test_undo_goes_back_one_event_at_a_time_also_after_a_restart(log, address):
    record(log, "e1", "keep", vote("a"))
    record(log, "e2", "remove", vote("a", 1), vote("b"))
    assert undo(log, "u1") == Outcome(("a", "b"), ())
    assert actions(log) == {"a": "keep"}, "undo must bring back the decision underneath"
    log.close()
    again = open_log(address)
    assert undo(again, "u2") == Outcome(("a",), ()) and actions(again) == {}
    assert undo(again, "u3") == Outcome((), ())
    assert again.revisions(RUN) == {"a": 4, "b": 2}
    again.close()


def test_undo_leaves_alone_what_somebody_decided_on_top(log):
    record(log, "e1", "keep", vote("a"), vote("b"))
    record(log, "e2", "remove", vote("a", 1), reviewer="bob")
    assert undo(log, "u1") == Outcome(("b",), ("a",))
    assert actions(log) == {"a": "remove"}
    undo(log, "u2", "bob")
    assert actions(log) == {"a": "keep"}
    assert undo(log, "u3", target="e1") == Outcome(("a",), ()), "nothing lies on it any more"
    assert actions(log) == {}


def test_an_older_event_can_be_undone_by_name_and_an_undo_cannot(log):
    record(log, "e1", "keep", vote("a"))
    record(log, "e2", "keep", vote("b"))
    undo(log, "u1", target="e1")
    assert actions(log) == {"b": "keep"}
    with pytest.raises(DecisionError, match="itself an undo"):
        undo(log, "u2", target="u1")
    with pytest.raises(DecisionError, match="no event 'e9'"):
        undo(log, "u3", target="e9")
    for unfit in ("a\0b", "\ud800"):
        with pytest.raises(DecisionError, match="a database cannot store"):
            undo(log, "u3", target=unfit)
    assert undo(log, "u4", target="e1") == Outcome((), ())
    assert undo(log, "u5") == Outcome(("b",), ()), "e1 was undone already: the newest left is e2"


def test_runs_and_reviewers_do_not_see_each_other(log):
    record(log, "e", "keep", vote("a"))
    assert log.undo(event_id="u", run="another run", reviewer="ann") == Outcome((), ())
    assert undo(log, "u", "bob") == Outcome((), ())
    assert log.current("another run").empty and log.revisions("another run") == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": "delete"}, "Unknown action"),
        ({"action": "undo"}, "Unknown action"),
        ({"votes": []}, "no sample"),
        ({"votes": [vote("a"), vote("a")]}, "twice"),
        ({"action": "relabel"}, "new label"),
        ({"action": "relabel", "votes": [vote("a", 0, "coat")]}, "already is"),
        ({"votes": [vote("a", 0, "shirt")]}, "came with the new label"),
        ({"votes": [vote("a", -1)]}, "revision"),
        ({"votes": [vote("")]}, "sample id"),
        ({"votes": [vote("a\0b")]}, "a database cannot store"),
        ({"votes": [vote("\ud800")]}, "a database cannot store"),
        ({"votes": [Vote("a", 0, "coat", suggested_label="a\0b")]}, "a database cannot store"),
        ({"votes": [Vote("a", 0, "coat", suggested_label="\ud800")]}, "a database cannot store"),
        ({"votes": [Vote("a", 0, "coat", rank=2**40)]}, "rank"),
        ({"votes": [Vote("a", float("nan"), "coat")]}, "revision"),  # pyright: ignore[reportArgumentType]
        ({"votes": [vote("a", 2**70)]}, "revision"),
        ({"votes": [Vote("a", 0, "coat", suspicion=float("nan"))]}, "suspicion"),
        ({"reviewer": "  "}, "reviewer"),
        ({"event_id": ""}, "event id"),
        ({"event_id": "e" * 101}, "event id"),
        ({"run": ""}, "run id"),
        ({"seconds": -1.0}, "seconds"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence_and_writes_nothing(log, change, reason):
    asked = {"event_id": "e", "run": RUN, "action": "keep", "votes": [vote("a")], "reviewer": "ann"}
    with pytest.raises(DecisionError, match=reason):
        log.record(**(asked | change))
    assert log.events(RUN).empty
    assert log.record(**asked).written == ("a",), "the refused event must not have used up its id"


def test_empty_answers_have_the_columns_and_types_of_full_ones(log):
    empty = [log.current(RUN), log.conflicts(RUN), log.events(RUN)]
    record(log, "e1", "keep", vote("a"))
    record(log, "e2", "relabel", vote("a", 0, "shirt"))
    full = [log.current(RUN), log.conflicts(RUN), log.events(RUN)]
    for none, some in zip(empty, full, strict=True):
        assert list(none.columns) == list(some.columns)
        assert str(none.filter(like="time").dtypes.iloc[0]) == str(some.filter(like="time").dtypes.iloc[0])


@pytest.mark.parametrize(
    "change", ["UPDATE events SET action = 'remove'", "DELETE FROM events", "DELETE FROM deliveries"]
)
def test_the_database_itself_refuses_to_change_the_past(log, address, change):
    record(log, "e", "keep", vote("a"))
    url = address if isinstance(address, str) else f"sqlite:///{address}"
    engine = sa.create_engine(url)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(change)
    engine.dispose()
    assert actions(log) == {"a": "keep"}


def test_many_writers_at_once_one_wins_each_revision(log, address):
    """Six threads over three connections' pools vote on the same samples until each was heard ten times."""
    logs, errors, accepted = [log, open_log(address), open_log(address)], [], []

    def work(number: int) -> None:
        mine = logs[number % 3]
        try:
            for turn in range(10):
                known = mine.revisions(RUN)
                votes = [vote(sample, known.get(sample, 0)) for sample in ("abc", "cba")[number % 2]]
                outcome = record(mine, f"{number}-{turn}", "keep", *votes, reviewer=f"r{number}")
                assert len(outcome.written) + len(outcome.conflicts) == 3
                accepted.extend(outcome.written)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for each in logs:
        assert each.revisions(RUN) == {sample: accepted.count(sample) for sample in "abc"}
    assert len(log.events(RUN)) == 6 * 10 * 3
    for other in logs[1:]:
        other.close()


def test_one_event_delivered_by_eight_threads_at_once_is_one_event(log):
    outcomes, barrier = [], threading.Barrier(8)

    def deliver() -> None:
        barrier.wait()
        outcomes.append(record(log, "e", "keep", vote("a"), vote("b")))

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.repeated for outcome in outcomes) == [False] + [True] * 7
    assert {outcome.written for outcome in outcomes} == {("a", "b")} and len(log.events(RUN)) == 2


WRITER = """
import sys
from influence_core.decisions.log import Vote, open_log
log = open_log(sys.argv[1])
for number in range(100_000):
    log.record(event_id=f"{sys.argv[2]}-{number}", run="run", action="keep",
               votes=[Vote(f"{sys.argv[2]}-{number}", 0, "coat")], reviewer="ann")
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9_of_several_first_writers(tmp_path):
    path = tmp_path / "decisions.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    acknowledged = {}
    for writer in writers:
        assert writer.stdout is not None
        for _ in range(5):
            assert writer.stdout.readline(), "a writer died while the log was being created"
    for name, writer in zip("abc", writers, strict=True):
        writer.send_signal(signal.SIGKILL)
        acknowledged[name] = 5 + len(writer.communicate()[0].splitlines())
    log = open_log(path)
    counts = log.current("run").index.str[0].value_counts().to_dict()
    for name, number in acknowledged.items():
        assert number <= counts[name] <= number + 1, "a decision was lost, or written twice"
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    log.close()


def test_a_log_that_was_deleted_while_in_use_takes_no_more_decisions(tmp_path):
    log = open_log(tmp_path / "decisions.sqlite")
    record(log, "e1", "keep", vote("a"))
    (tmp_path / "decisions.sqlite").unlink()
    with pytest.raises(DecisionError, match="deleted"):
        record(log, "e2", "keep", vote("b"))


def test_a_log_that_cannot_be_opened_says_where_and_hides_passwords(tmp_path):
    (tmp_path / "text.sqlite").write_text("no database at all, but long enough to be looked at " * 10)
    with pytest.raises(DecisionError, match=r"text\.sqlite"):
        open_log(tmp_path / "text.sqlite")
    with pytest.raises(DecisionError) as caught:
        open_log("postgresql+psycopg://ann:secret@127.0.0.1:1/none?connect_timeout=2")
    assert "secret" not in str(caught.value)


def test_the_log_of_a_root_is_in_it_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("INFLUENCE_DECISIONS", raising=False)
    decision_log_for(tmp_path / "runs").close()
    assert (tmp_path / "runs/decisions.sqlite").is_file()
    monkeypatch.setenv("INFLUENCE_DECISIONS", f"sqlite:///{tmp_path}/elsewhere.sqlite")
    decision_log_for(tmp_path / "other").close()
    assert (tmp_path / "elsewhere.sqlite").is_file() and not (tmp_path / "other").exists()


def test_every_commit_is_flushed_to_the_disk(tmp_path):
    log = open_log(tmp_path / "decisions.sqlite")
    with log._engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    assert found == ["wal", 2], "synchronous must be FULL: NORMAL may lose the last decisions at a power cut"
    log.close()


def test_many_thousand_events_stay_fast(tmp_path):
    """Limits are ten times what an idle machine needs: they catch work that grows with the log."""
    log = open_log(tmp_path / "decisions.sqlite")
    for part in range(4):
        record(log, f"e{part}", "keep", *(vote(f"{part}-{number}") for number in range(5_000)))
    log.current(RUN)
    spent = {"record": 0.0, "current": 0.0, "undo": 0.0}
    for turn in range(5):
        steps = {
            "record": lambda turn=turn: record(log, f"more-{turn}", "remove", vote(f"0-{turn}", 1)),
            "current": lambda: log.current(RUN),
            "undo": lambda turn=turn: undo(log, f"undo-{turn}"),
        }
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            spent[name] += (time.perf_counter() - begun) / 5
    assert len(log.current(RUN)) == 20_000
    assert spent["record"] < 0.1 and spent["undo"] < 0.1 and spent["current"] < 1.0, spent
    log.close()


class TwoReviewers(RuleBasedStateMachine):
    """Any sequence of decisions and undos, beside an oracle that applies the definitions word for word."""

    def __init__(self) -> None:
        """Two logs on one file, as two processes would have, and an oracle without a database."""
        super().__init__()
        self.path = Path(f"/tmp/influence-{os.getpid()}-{time.monotonic_ns()}.sqlite")
        self.logs = [open_log(self.path), open_log(self.path)]
        self.number = 0
        self.votes: dict[str, list[dict]] = {}  # of each event: sample, accepted, undone, when
        self.newest: dict[str, list[str]] = {"ann": [], "bob": []}  # events no undo has named, in order
        self.last_call = None

    def accepted(self, sample: str) -> int:
        """Revision: accepted votes, and each undo that took effect counts once more."""
        mine = [vote for votes in self.votes.values() for vote in votes if vote["sample"] == sample]
        return sum(vote["accepted"] + (vote["accepted"] and vote["undone"]) for vote in mine)

    def standing(self, sample: str) -> list[dict]:
        """Accepted votes on a sample that were not undone, oldest first."""
        mine = [vote for votes in self.votes.values() for vote in votes if vote["sample"] == sample]
        return sorted((v for v in mine if v["accepted"] and not v["undone"]), key=lambda vote: vote["when"])

    def repeats(self, who: str, action: str, sample: str) -> bool:
        """Whether the decision that counts is this reviewer's, and the same."""
        stack = self.standing(sample)
        return bool(stack) and (stack[-1]["who"], stack[-1]["action"]) == (who, action)

    @rule(
        who=st.sampled_from(["ann", "bob"]),
        which=st.sampled_from([0, 1]),
        samples=st.sets(st.sampled_from("xyz"), min_size=1),
        action=st.sampled_from(["keep", "relabel", "remove"]),
        behind=st.sampled_from([0, 0, 0, 1]),
    )
    def decide(self, who, which, samples, action, behind):
        """Decide on the revision of now, or on one that is gone."""
        self.number += 1
        event, label = f"e{self.number}", "shirt" if action == "relabel" else None
        expected = {sample: max(0, self.accepted(sample) - behind) for sample in sorted(samples)}
        same = {sample: self.repeats(who, action, sample) for sample in expected}
        good = {s: same[s] or revision == self.accepted(s) for s, revision in expected.items()}
        votes = [vote(sample, revision, label) for sample, revision in expected.items()]
        self.last_call = lambda log: record(log, event, action, *votes, reviewer=who)
        outcome = self.last_call(self.logs[which])
        assert set(outcome.written) == {sample for sample in good if good[sample]}
        assert set(outcome.conflicts) == {sample for sample in good if not good[sample]}
        self.votes[event] = [
            {
                "sample": sample,
                "accepted": good[sample],
                "undone": False,
                "when": self.number,
                "who": who,
                "action": action,
                "event": event,
            }
            for sample in expected
        ]
        self.newest[who].append(event)

    @rule(who=st.sampled_from(["ann", "bob"]), which=st.sampled_from([0, 1]), named=st.randoms())
    def take_back(self, who, which, named):
        """Undo one's newest event, or any event by name."""
        self.number += 1
        target = named.choice(sorted(self.votes)) if self.votes and named.random() < 0.3 else None
        chosen = target or (self.newest[who][-1] if self.newest[who] else None)
        event = f"u{self.number}"
        self.last_call = lambda log: undo(log, event, who, target)
        outcome = self.last_call(self.logs[which])
        written, conflicts = set(), set()
        for each in self.votes.get(chosen or "", []):
            if each["undone"]:
                continue
            if each["accepted"] and self.standing(each["sample"])[-1] is not each:
                conflicts.add(each["sample"])
                continue
            each["undone"] = True
            written.add(each["sample"])
        assert (set(outcome.written), set(outcome.conflicts)) == (written, conflicts)
        for events in self.newest.values():
            if chosen in events:
                events.remove(chosen)

    @precondition(lambda self: self.last_call is not None)
    @rule(which=st.sampled_from([0, 1]))
    def deliver_again(self, which):
        """A redelivery changes nothing; the invariants look after that."""
        assert self.last_call(self.logs[which]).repeated

    @invariant()
    def the_log_agrees_with_the_oracle(self):
        """Revisions, current decisions and open conflicts, seen through both connections."""
        touched = sorted({vote["sample"] for votes in self.votes.values() for vote in votes})
        revisions = {sample: n for sample in touched if (n := self.accepted(sample))}
        tops = {sample: stack[-1] for sample in touched if (stack := self.standing(sample))}
        late = [v for votes in self.votes.values() for v in votes if not v["accepted"] and not v["undone"]]
        disputed = sorted(
            (v["sample"], v["event"])
            for v in late
            if v["sample"] not in tops or tops[v["sample"]]["when"] < v["when"]
        )
        for log in self.logs:
            assert log.revisions(RUN) == revisions
            now = log.current(RUN)
            assert now["event_id"].to_dict() == {sample: top["event"] for sample, top in tops.items()}
            assert now["reviewer"].to_dict() == {sample: top["who"] for sample, top in tops.items()}
            open_ones = log.conflicts(RUN)
            assert sorted(zip(open_ones["sample_id"], open_ones["other_event_id"], strict=True)) == disputed
            assert set(now.index[now["conflict"]]) == {sample for sample, _ in disputed} & set(tops)

    def teardown(self) -> None:
        """Leave no file behind."""
        for log in self.logs:
            log.close()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()


TestTwoReviewers = TwoReviewers.TestCase
TestTwoReviewers.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
