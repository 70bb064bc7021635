"""What tests of every folder share: runs that are made once, a log, and the order in which files are run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from influence_core.decisions.log import DecisionLog, decision_log_for
from influence_core.runs.run import Run
from tests.making import order
from tests.making.drawn_run import make_small_run


@pytest.hookimpl(trylast=True)  # when tests of other markers are gone
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The files with the slowest tests first, for each of the workers."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = order.dealt(items, workers)


@pytest.fixture(scope="session")
def drawn_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of drawn numbers, 60 samples and 3 classes, with its pictures. Who changes it copies it."""
    return make_small_run(tmp_path_factory.mktemp("drawn") / "small", pictures=True)


@pytest.fixture(scope="session")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a real network on 27 real pictures, which can be explained. Who changes it makes its own."""
    from tests.making.real_run import make_explained_run  # here, because torch takes seconds

    return make_explained_run(tmp_path_factory.mktemp("real") / "real")


@pytest.fixture(scope="session")
def cloud_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of an mlp on 150 points with planted faults, which can be retrained in a second."""
    from tests.making.clouds import make_run

    return make_run(tmp_path_factory.mktemp("clouds"))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DecisionLog]:
    """The empty log of the runs in tmp_path / "runs"."""
    monkeypatch.delenv("INFLUENCE_DECISIONS", raising=False)
    log = decision_log_for(tmp_path / "runs")
    yield log
    log.close()
