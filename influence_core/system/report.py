"""`Report`: a function that long work calls with the stage, the steps done and the steps in total."""

from collections.abc import Callable

Report = Callable[[str, int, int], None]
