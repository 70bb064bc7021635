"""The README is tested: its quickstart runs, its links resolve, and every file has its line."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_quickstart_runs_as_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert "suspicion" in said and "train/" in said
    assert "torch.Size([4000]) torch.Size([4000, 1]) torch.Size([4000, 256])" in said


def test_links_resolve():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), f"README links to {target}, which is not there"


def test_every_file_has_its_line():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    missing = [name for name in listed if name.endswith((".py", ".js", ".css")) and name not in TEXT]
    assert not missing, f"README does not mention {missing}"


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|^ {4})make (\w+)", TEXT, flags=re.MULTILINE)
    assert {"run", "test", "check"} <= set(named)
    for target in named:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"there is no `make {target}`"
