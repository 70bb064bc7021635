"""Cells that played no part in any choice about suspicion: other pictures, tables and networks.

    python -m benchmarks.detection.run --cells CACHE --unseen FOLDER

They were measured after all choices were made, in version 0.4. FREQUENT (suspicion.py) was chosen later with their
first numbers in view: docs/detection.md, "Unseen pictures, tables and networks".

FOLDER holds unpacked packages (PACKAGES below); nothing is installed:

    apt-get download PACKAGES && for file in *.deb; do dpkg -x $file FOLDER; done
    pip install --no-deps --target FOLDER river statsmodels palmerpenguins

Every value of a column occurs equally often or once less; the combinations were drawn once, by seed.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.detection.noise import KINDS
from benchmarks.detection.unseen_networks import NETWORKS
from benchmarks.detection.unseen_pictures import PICTURES
from benchmarks.detection.unseen_tables import TABLES

PACKAGES = """
fonts-alee fonts-averia-serif-gwf fonts-baekmuk fonts-breip fonts-comfortaa fonts-courier-prime fonts-crosextra-caladea
fonts-crosextra-carlito fonts-dancingscript fonts-dejavu-core fonts-dejavu-extra fonts-ebgaramond fonts-freefont-ttf
fonts-hack fonts-humor-sans fonts-inconsolata fonts-junicode fonts-lato fonts-linuxlibertine fonts-lobstertwo
fonts-nanum fonts-nanum-eco fonts-nanum-extra fonts-noto-color-emoji fonts-open-sans fonts-play fonts-quicksand
fonts-roboto-unhinted fonts-unfonts-core fonts-unfonts-extra fonts-woowa-bm fonts-yanone-kaffeesatz gnome-icon-theme
lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds oxygen-icon-theme tango-icon-theme ukui-wallpapers
unicode-data
"""
RATES = (0.05, 0.15, 0.25, 0.35)
REGIMES = ("early", "converged", "memorised")
CHECKS = ("clean", "noisy", "none")
CELLS = 18


def unseen_settings() -> Iterator[tuple[str, str, float, str, str, str, int]]:
    """The fields of each Cell: 18 on pictures with errors, 4 on clean pictures, 5 and 2 on tables."""
    rng = np.random.default_rng(2026)
    networks = tuple(name for name in NETWORKS if name != "table_resnet")

    def spread(values: tuple, count: int) -> list:
        turns, rest = divmod(count, len(values))
        whole = [*values * turns, *(values[place] for place in rng.permutation(len(values))[:rest])]
        return [whole[place] for place in rng.permutation(count)]

    columns = (tuple(PICTURES), KINDS, RATES, networks, REGIMES, CHECKS)
    for place, settings in enumerate(zip(*(spread(values, CELLS) for values in columns), strict=True)):
        yield *settings, place % 2
    columns = (tuple(PICTURES), ("uniform",), (0.0,), networks, REGIMES, CHECKS)
    for settings in zip(*(spread(values, 4) for values in columns), strict=True):
        yield *settings, 2
    columns = (tuple(TABLES), KINDS[:5], RATES, ("table_resnet",), REGIMES, CHECKS)
    for place, settings in enumerate(zip(*(spread(values, 5) for values in columns), strict=True)):
        yield *settings, place % 2
    columns = (tuple(TABLES), ("uniform",), (0.0,), ("table_resnet",), REGIMES, CHECKS)
    for settings in zip(*(spread(values, 2) for values in columns), strict=True):
        yield *settings, 2
