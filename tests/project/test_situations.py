"""docs/situations.md and tests/situations/ are one list: each row names a test that exists, and no test lacks a row."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "situations.md").read_text(encoding="utf-8")


def held() -> set[str]:
    trees = [
        ast.parse(file.read_text(encoding="utf-8"))
        for file in (ROOT / "tests" / "situations").rglob("test_*.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {node.name for node in nodes if node.name.startswith("test_")}


def named() -> list[str]:
    cells = re.findall(r"^\|.*\|([^|]*)\|$", TEXT, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(test_\w+)`", cell)]


def test_each_row_names_a_test_that_exists_and_each_test_has_a_row():
    assert sorted(set(named()) - held()) == [], "rows of docs/situations.md that no test holds"
    assert sorted(held() - set(named())) == [], "tests/situations/: tests without a row in docs/situations.md"


def test_no_row_lacks_its_test():
    rows = [
        line
        for line in TEXT.splitlines()
        if line.startswith("|") and not line.startswith(("|---", "| situation"))
    ]
    assert [row for row in rows if not re.search(r"`test_\w+`", row)] == [], "rows without a test"
