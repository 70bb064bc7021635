"""Words of the Export page: tables as a person reads them; no Streamlit."""

from __future__ import annotations

import pandas as pd

from pages.ui.words import formats

TIMES = ("time", "server_time", "client_time")


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is shown: times in words, nothing where there is no value; numbers stay numbers."""
    shown = table.copy()
    for name in shown:
        if name in TIMES:
            shown[name] = [formats.moment(str(value)) for value in shown[name]]
        elif not pd.api.types.is_numeric_dtype(shown[name]):
            shown[name] = shown[name].astype(object).where(shown[name].notna(), "")
    return shown
