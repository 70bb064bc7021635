"""Figures that were drawn before: plotly takes 0.05 to 0.2 s to build one, which is most of what a page costs.

A figure is found again by everything it was drawn from, whole arrays included, so that two runs never share one by
accident. All sessions share these figures: readers must not change them.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import ParamSpec

import plotly.graph_objs as go

P = ParamSpec("P")
MOST = 96
"""Figures kept; about 50 KB each."""
_kept: OrderedDict[bytes, go.Figure] = OrderedDict()
_lock = Lock()


def remembered(draw: Callable[P, go.Figure]) -> Callable[P, go.Figure]:
    """Draw a figure once for the same arguments."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> go.Figure:
        content = pickle.dumps((draw.__module__, draw.__qualname__, args, kwargs))
        name = hashlib.blake2b(content, digest_size=20).digest()
        with _lock:
            if name in _kept:
                _kept.move_to_end(name)
                return _kept[name]
        figure = draw(*args, **kwargs)
        with _lock:
            _kept[name] = figure
            while len(_kept) > MOST:
                _kept.popitem(last=False)
        return figure

    return drawn
