"""Files from strangers have one door each. This test reads the source and finds any other.

A scanner can be fooled and a switch forgotten; what cannot be called by mistake is what nobody calls.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("influence_core/**/*.py"), *ROOT.glob("pages/**/*.py"), *ROOT.glob("app.py")])
SOURCES += sorted(ROOT.glob("sample_data/**/*.py"))

# Calls that no file may make: each can run code from a file, or write where an archive says.
FORBIDDEN = {
    "torch.jit.load", "torch.export.load", "torch.hub.load", "torch.package.PackageImporter",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "cloudpickle.load",
    "joblib.load", "pandas.read_pickle", "pd.read_pickle", "shelve.open", "marshal.load", "marshal.loads",
    "yaml.load", "yaml.unsafe_load", "onnx.load", "eval", "exec", "shutil.unpack_archive", "tarfile.open",
}  # fmt: skip
FORBIDDEN_METHODS = {"extractall", "extract", "unpack_archive"}
FORBIDDEN_KEYWORDS = {
    ("weights_only", False), ("allow_pickle", True), ("unsafe_allow_html", True), ("unsafe_allow_javascript", True),
}  # fmt: skip
# The one file that may make each of these calls.
ONE_DOOR = {
    "torch.load": ["influence_core/models/weight_files/unpickle.py"],
    "safetensors.torch.load": ["influence_core/models/weight_files/weights.py"],
    "safetensors.torch.load_file": [],
    "safetensors.safe_open": ["influence_core/engine/shards.py"],  # files of our own making, not weights
    "PIL.Image.open": ["influence_core/data/storage/pictures.py"],
    "gzip.open": [
        "influence_core/data/readers/table_files.py",  # into a file of limited size
        "influence_core/data/readers/torchvision_files.py",
    ],
    "json.load": [],
    "st.html": ["pages/ui/bring/sheet.py"],  # whose every text is escaped
    "zipfile.ZipFile": [
        "influence_core/data/readers/archive.py",
        "influence_core/data/readers/array_files.py",
        "influence_core/data/readers/spreadsheet.py",  # reads the sizes that the sheets state, nothing else
        "influence_core/models/weight_files/sniffing.py",
    ],
}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Return every call in a file with its full dotted name, imports under other names resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            head, _, rest = name.partition(".")
            found.append((names.get(head, head) + ("." + rest if rest else ""), node))
    return found


def writes(call: ast.Call) -> bool:
    """Whether a call opens a file for writing: `ZipFile(path, "w")`."""
    return len(call.args) > 1 and isinstance(call.args[1], ast.Constant) and call.args[1].value in ("w", "x")


def test_there_is_something_to_read():
    assert len(SOURCES) > 10


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_opens_a_second_door(path):
    where = path.relative_to(ROOT).as_posix()
    for name, call in calls(path):
        line = f"{where}:{call.lineno} calls {name}"
        assert name not in FORBIDDEN, line
        method = call.func.attr if isinstance(call.func, ast.Attribute) else name
        assert method not in FORBIDDEN_METHODS, line
        for keyword in call.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            assert (keyword.arg, value) not in FORBIDDEN_KEYWORDS, f"{line} with {keyword.arg}={value}"
        if name in ONE_DOOR and not writes(call):
            assert where in ONE_DOOR[name], f"{line}; only {ONE_DOOR[name]} may"


def test_torch_load_is_called_once_and_safely():
    found = [(path, call) for path in SOURCES for name, call in calls(path) if name == "torch.load"]
    assert len(found) == 1
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in found[0][1].keywords}
    assert keywords["weights_only"] == "True", "it must be written out, so that no variable can change it"
