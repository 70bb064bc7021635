"""Weight files from strangers: each could run code, or eat the machine; each is refused by name, unopened.

The files are built here. A canary is a file that the hidden code would create; it must never appear.
"""

import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision  # noqa: F401  its first import makes a cache in the temporary folder, which is not our file

from influence_core.errors import ModelError, UnsafeFileError
from influence_core.models import Preprocessing, open_model
from influence_core.models.weight_files.quarantine import run_child
from tests.making.refusals import assert_refused
from tests.malicious.caps import capped

KNOWN = {
    "architecture": "logistic",
    "classes": ("a", "b"),
    "preprocessing": Preprocessing(channels=3, size=None, mean=(0.0,), std=(1.0,)),
}
GOOD = {"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)}


class Bomb:
    """An object that, when unpickled, touches a file."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """Path of the canary; asserts in the end that it was never made and that no temporary file was left."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "hidden code was run"
    assert not list((tmp_path / "temporary").iterdir()), "a temporary file was left behind"


def assert_model_refused(path: Path, *words: str, error: type[ModelError] = UnsafeFileError) -> None:
    recipe = ("save_file",) if error is UnsafeFileError else ()
    with capped(path.name), assert_refused(error, *words, *recipe):
        open_model(path, **KNOWN)


# --- pickles ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.safetensors", "m.bin"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pytorch_file_that_runs_code_is_refused_by_the_name_of_the_call(tmp_path, canary, name, legacy):
    torch.save(GOOD | {"x": Bomb(canary)}, tmp_path / name, _use_new_zipfile_serialization=not legacy)
    assert_model_refused(tmp_path / name, "would run code when opened", "posix.system")


@pytest.mark.parametrize("name", ["m.pkl", "m.joblib", "m.pt", "m.safetensors", "m.ckpt"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_plain_pickle_is_refused_under_any_name(tmp_path, canary, name, protocol):
    (tmp_path / name).write_bytes(pickle.dumps({"x": Bomb(canary)}, protocol=protocol))
    assert_model_refused(tmp_path / name, "posix.system")


def test_an_ancient_text_pickle_is_refused(tmp_path, canary):
    (tmp_path / "m.pt").write_bytes(pickle.dumps(Bomb(canary), protocol=0))
    assert_model_refused(tmp_path / "m.pt", "none of the known weight formats")


def test_harmless_pickles_that_are_no_weights_are_refused(tmp_path, canary):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": 1}))
    assert_model_refused(tmp_path / "m.pkl", "a pickle")
    (tmp_path / "m.pt").write_bytes(pickle.dumps({"a": 1}))
    assert_model_refused(tmp_path / "m.pt", "not a plain state dict")


def test_a_pickled_module_is_refused(tmp_path, canary):
    torch.save(torch.nn.Linear(3, 2), tmp_path / "m.pt")
    assert_model_refused(tmp_path / "m.pt", "torch.nn.modules.linear.Linear")


def test_a_call_hidden_from_the_disassembler_is_stopped_by_the_child(tmp_path, canary):
    """The child alone must hold: give it the file without the look at its instructions before."""
    torch.save(GOOD | {"x": Bomb(canary)}, tmp_path / "m.pt")
    answer = run_child(tmp_path / "m.pt", tmp_path / "out.safetensors", 60)
    assert answer["state"] == "unsafe" and "posix.system" in answer["reason"]
    assert (tmp_path / "out.safetensors").read_bytes() == b"", "nothing was converted"


# --- other containers of code -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors", "m.pth"])
def test_torchscript_is_refused_under_any_name(tmp_path, canary, name):
    # Built by hand, as torch.jit.save lays it out; the real writer is deprecated and warns.
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("m/code/__torch__.py", f"open({str(canary)!r}, 'w')")
        archive.writestr("m/constants.pkl", pickle.dumps((), protocol=2))
    assert_model_refused(tmp_path / name, "TorchScript")


@pytest.mark.parametrize("name", ["m.pt2", "m.pt", "m.safetensors"])
def test_a_torch_export_archive_that_asks_for_a_pickle_is_refused(tmp_path, canary, name):
    """Laid out as torch.export.save does; torch itself would obey the `use_pickle` in the archive's own JSON."""
    config = {"config": {"x": {"path_name": "weight_0", "is_param": True, "use_pickle": True}}}
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/models/model.json", "{}")
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps(config))
        archive.writestr("m/data/weights/weight_0", pickle.dumps(Bomb(canary)))
    assert_model_refused(tmp_path / name, "torch.export archive")


def test_onnx_keras_and_unknown_files_are_refused(tmp_path, canary):
    for name, data, words in (
        ("m.onnx", b"\x08\x07\x12\x07pytorch", "ONNX"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        ("m.pt", b"", "none of the known weight formats"),
        ("m.pt", b"#!/bin/sh\n", "none of the known weight formats"),
        ("m.pt", b"PK\x03\x04 broken", "damaged zip"),
    ):
        (tmp_path / name).write_bytes(data)
        assert_model_refused(tmp_path / name, words)


def test_a_zip_that_holds_no_weights_is_refused(tmp_path, canary):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert_model_refused(tmp_path / "m.pt", "no PyTorch weights")


# --- state dicts that are wrong in other ways -------------------------------------------------------------


def test_a_state_dict_with_more_than_tensors_is_refused(tmp_path, canary):
    torch.save(GOOD | {"x": "text"}, tmp_path / "m.pt")
    assert_model_refused(
        tmp_path / "m.pt", "not all of its entries are plain tensors", "'x'", error=ModelError
    )
    torch.save([1, 2], tmp_path / "m.pt")
    assert_model_refused(tmp_path / "m.pt", "holds a list", error=ModelError)


def test_a_truncated_state_dict_is_refused(tmp_path, canary):
    torch.save(GOOD, tmp_path / "m.pt")
    data = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(data[: len(data) // 2])
    assert_model_refused(tmp_path / "m.pt", "damaged zip")


def test_a_small_file_that_asks_for_much_memory_is_stopped(tmp_path, canary):
    """A tensor of 50 GB as an expanded view of one number costs nothing to store and everything to copy."""
    torch.save(GOOD | {"x": torch.zeros(1).expand(12_500_000_000)}, tmp_path / "m.pt")
    assert (tmp_path / "m.pt").stat().st_size < 10_000
    assert_model_refused(tmp_path / "m.pt", "cannot be read as a state dict", error=ModelError)


def test_a_child_that_takes_too_long_is_ended(tmp_path):
    torch.save(GOOD, tmp_path / "m.pt")
    answer = run_child(tmp_path / "m.pt", tmp_path / "out.safetensors", 0.05)
    assert "longer than 0.05 seconds" in answer["reason"]


def test_the_child_sees_no_secrets_and_imports_nothing_from_the_working_folder(tmp_path, canary, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("torch.py", "safetensors.py", "json.py"):
        (tmp_path / name).write_text(f"open({str(canary)!r}, 'w')")
    torch.save(GOOD, tmp_path / "m.pt")
    assert open_model(tmp_path / "m.pt", **KNOWN).architecture == "logistic"


# --- safetensors ------------------------------------------------------------------------------------------


def safetensors_file(path: Path, header: bytes, data: bytes = b"", length: int | None = None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def entry(shape: list, begin: int, end: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_bloated_header_is_refused_before_it_is_parsed(tmp_path, canary):
    header = json.dumps({f"t{number}": entry([0], 0, 0) for number in range(40_000)}).encode()
    path = safetensors_file(tmp_path / "m.safetensors", header)
    started = time.process_time()  # not the wall clock: the other test process has the machine too
    assert_model_refused(path, "header of", "at most 1,048,576", error=ModelError)
    assert time.process_time() - started < 0.5


def test_too_many_tensors_are_refused(tmp_path, canary):
    header = json.dumps({f"t{number}": entry([0], 0, 0) for number in range(10_001)}, separators=(",", ":"))
    assert_model_refused(
        safetensors_file(tmp_path / "m.safetensors", header.encode()), "10,001 tensors", error=ModelError
    )


@pytest.mark.parametrize(
    ("header", "length", "words"),
    [
        ({"t": entry([2], 0, 8)}, 10**15, "cut off or damaged"),
        ({"t": entry([2**40], 0, 8)}, None, "needs 4,398,046,511,104 bytes"),
        ({"t": entry([2**62, 2**62, 0], 0, 8)}, None, "needs 0 bytes"),
        ({"t": entry([2], 0, 800)}, None, "needs 8 bytes, but its place in the file has 800"),
        ({"t": entry([2], 0, 8), "u": entry([2], 4, 12)}, None, "overlaps the tensor before it"),
        ({"t": entry([1], 4, 8)}, None, "leaves a hole before it"),
        ({"t": entry([1], 0, 4)}, None, "hidden behind the weights"),
        ({"t": entry([2], 0, 8), "u": entry([2], 8, 16)}, None, "the file holds 8 after the header"),
        ({"t": entry([2], 0, 8, "F33")}, None, "lacks a known dtype"),
        ({"t": {"dtype": "F32"}}, None, "lacks a known dtype, a shape or its place"),
        ({"t": entry([-1], 0, 8)}, None, "expected up to 8 whole numbers"),
        ({"t": entry([True, 2], 0, 8)}, None, "expected up to 8 whole numbers"),
        ({"t": entry([1] * 9 + [2], 0, 8)}, None, "expected up to 8 whole numbers"),
        ({}, None, "holds no tensors"),
        ({"__metadata__": {"format": "pt"}}, None, "holds no tensors"),
        ([1, 2], None, "expected a table of tensors"),
        (b'{"t": {}, "t": {}}', None, "occurs twice"),
        (b'{"t": ' + b"[" * 5000, None, "damaged header"),
        (b"{nonsense", None, "damaged header"),
    ],
)
def test_lying_headers_are_refused(tmp_path, canary, header, length, words):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = safetensors_file(tmp_path / "m.safetensors", raw, bytes(8), length)
    assert_model_refused(path, words, error=ModelError)


def test_an_empty_or_cut_off_safetensors_file_is_refused(tmp_path, canary):
    safetensors.torch.save_file(GOOD, tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    for length in (0, 4, 8, 20, len(data) - 1):
        (tmp_path / "m.safetensors").write_bytes(data[:length])
        assert_model_refused(tmp_path / "m.safetensors", "m.safetensors", error=ModelError)


def test_model_json_can_name_no_code(tmp_path, canary):
    safetensors.torch.save_file(GOOD, tmp_path / "model.safetensors")
    (tmp_path / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    spec = {"architecture": "evil:make", "classes": ["a", "b"], "preprocessing": None}
    (tmp_path / "model.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match="No architecture is called 'evil:make'"):
        open_model(tmp_path, preprocessing=KNOWN["preprocessing"])


def test_the_versions_with_known_holes_are_excluded():
    """torch before 2.10 corrupts memory on hostile state dicts even with weights_only=True."""
    assert tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 10)


def test_the_child_is_a_script_that_needs_nothing_of_ours(tmp_path):
    """It must run under -I, where this package may not even be found."""
    torch.save(GOOD, tmp_path / "m.pt")
    child = Path(__file__).parents[2] / "influence_core/models/weight_files/unpickle.py"
    with (tmp_path / "m.pt").open("rb") as file, (tmp_path / "out").open("xb") as target:
        done = subprocess.run(
            [sys.executable, "-I", str(child), str(target.fileno()), "60"],
            stdin=file,
            capture_output=True,
            check=True,
            pass_fds=(target.fileno(),),
        )
    answer = json.loads(done.stdout)
    assert answer["state"] == "converted" and "files" in answer["walls"]
    assert set(safetensors.torch.load_file(tmp_path / "out")) == set(GOOD)
