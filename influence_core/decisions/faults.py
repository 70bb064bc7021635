"""What an error of the database means: a sentence for the people who decide, without the address of the database."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from influence_core.decisions.transactions import BUSY
from influence_core.errors import DecisionError
from influence_core.system.locks import UNSUPPORTED

FAULTS = (
    ("SQLITE_BUSY SQLITE_LOCKED 55P03", f"others have held it for {BUSY} seconds",
     "Close programs that have the log open, then try again."),
    ("SQLITE_FULL SQLITE_IOERR_WRITE SQLITE_IOERR_SHMSIZE SQLITE_IOERR_TRUNCATE 53100", "its disk is full",
     "Make room on it, then try again."),
    ("SQLITE_READONLY SQLITE_PERM SQLITE_AUTH 42501 25006", "this user may not write it",
     "Give this user the right to write it (a file: also its folder), then try again."),
    ("SQLITE_CANTOPEN", "its file cannot be opened",
     "Give this user the right to write the file and its folder, then try again."),
    ("SQLITE_NOTADB SQLITE_CORRUPT", "its file is damaged, or is no decision log",
     "Put a copy of the log back, then restart the app."),
    ("SQLITE_IOERR", "its disk does not read or write", "Check the disk, then restart the app."),
    ("42P01 42703", "its tables are missing, or are those of another program", "Restart the app to make them."),
    ("28000 28P01", "it refuses the name or the password", "Mend the address in INFLUENCE_DECISIONS."),
    ("3D000", "there is no database of this name", "Create it, or mend the address in INFLUENCE_DECISIONS."),
    ("54000", "PostgreSQL keeps no sample whose id has more than 2,600 bytes",
     "Give the samples shorter ids, or keep the log in a file (no INFLUENCE_DECISIONS)."),
    ("53300", "too many others are connected to it", "Try again in a minute."),
    ("57P01 57P02 57P03", "it is starting or stopping", "Try again in a minute."),
)  # fmt: skip
"""Names of errors, as SQLite and PostgreSQL have them, and what they mean; a SQLite name also stands for its kinds."""

# PostgreSQL refuses a connection in words only.
REFUSALS = {
    "authentication failed": "28P01", "no password": "28P01", 'role "': "28P01", "pg_hba": "28000",
    "does not exist": "3D000", "too many": "53300",
    "starting up": "57P03", "shutting down": "57P03", "recovery": "57P03",
}  # fmt: skip


@contextmanager
def in_words(beginning: str) -> Iterator[None]:
    """Raise an error of the database or its disk as a DecisionError that begins with these words."""
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
        reason, mend = _meaning(error)
        raise DecisionError(f"{beginning}: {reason}. {mend}") from error


def _meaning(error: Exception) -> tuple[str, str]:
    cause = getattr(error, "orig", None) or error
    name = _name(cause)
    for names, reason, mend in FAULTS:
        if any(name == known or name.startswith(f"{known}_") for known in names.split()):
            return reason, mend
    return _unnamed(error, cause)


def _name(cause: BaseException) -> str:
    """Return the name of an error: SQLite's, PostgreSQL's, or the SQLite name of the same trouble elsewhere."""
    if isinstance(cause, TimeoutError):
        return "SQLITE_BUSY"
    if "no such table" in str(cause) or "no such column" in str(cause):
        return "42P01"
    if name := getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None):
        return name
    refused = (code for words, code in REFUSALS.items() if words in str(cause))
    return next(refused, "")


def _unnamed(error: Exception, cause: BaseException) -> tuple[str, str]:
    if isinstance(error, ImportError | exc.NoSuchModuleError):
        return _no_driver(error)
    if isinstance(error, exc.TimeoutError):
        return "too many others are writing or reading", "Try again in a minute."
    if isinstance(cause, OSError) and cause.errno in UNSUPPORTED:
        return (
            "its disk has no locks, without which two writers would overwrite each other",
            "Keep it on a disk of this machine: INFLUENCE_DECISIONS=sqlite:////folder/decisions.sqlite",
        )
    if isinstance(cause, OSError):
        return f"its file cannot be used ({cause.strerror})", "Choose a folder that can be written."
    if isinstance(error, exc.OperationalError | exc.InterfaceError):
        return "the database does not answer", "Start it, or check INFLUENCE_DECISIONS, then try again."
    said = getattr(getattr(cause, "diag", None), "message_primary", None) or type(cause).__name__
    return f"the database answered '{said}'", "Check the database, then try again."


def _no_driver(error: Exception) -> tuple[str, str]:
    if "psycopg" in str(error):
        return "PostgreSQL needs the package psycopg", "Run: pip install 'psycopg[binary]'"
    return "its kind of database is not known here", "Expected sqlite:///path or postgresql+psycopg://..."
