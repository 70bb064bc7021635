"""Tables that played no part in any choice about suspicion: five real ones that come with Python packages.

segment   outdoor images' regions in seven classes (river: Image Segmentation, UCI), 1,000 of 2,310 rows
phishing  web sites, nine features of few values, so that half of the rows are equal (river: UCI), 1,000 of 1,250
shuttle   sensors of a space shuttle, 7 % anomalies (river: Statlog Shuttle), 1,000 of 49,097 rows
vote      Clinton or Dole, from opinions and circumstances (statsmodels: American National Election Study 1996), 944
penguins  three species of unequal number, with missing numbers and columns of words (palmerpenguins), 344
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.detection.data import Data
from benchmarks.detection.tables import table


def read(name: str, file: str, label: str, count: int, **form: Any) -> Callable[[Path], Data]:
    """Encode a table: words become columns of 0 and 1, missing numbers the mean of their column."""

    def made(folder: Path) -> Data:
        found = pd.read_csv(folder / file, **form)
        wide = pd.get_dummies(found.drop(columns=label)).astype(float)
        return table(name, wide.fillna(wide.mean()).to_numpy(), pd.factorize(found[label])[0], count)

    return made


TABLES: dict[str, Callable[[Path], Data]] = {
    "segment": read("segment", "river/datasets/segment.csv.zip", "category", 1000),
    "phishing": read("phishing", "river/datasets/phishing.csv.gz", "is_phishing", 1000),
    "shuttle": read("shuttle", "river/datasets/shuttle.csv.gz", "anomaly", 1000),
    "vote": read("vote", "statsmodels/datasets/anes96/anes96.csv", "vote", 944, sep="\t", quotechar="'"),
    "penguins": read("penguins", "palmerpenguins/data/penguins.csv", "species", 344),
}
