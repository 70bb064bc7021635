"""A file that came in place of the one that was meant: an address of Git LFS, or a page of the web."""

from pathlib import Path

PAGES = (b"<!doctype html", b"<html", b'<?xml version="1.0" encoding="utf-8"?>\n<error>')
"""How a page begins, and how an object store begins its refusal."""


def in_place_of(file: bytes | Path) -> str | None:
    """Return what came in place of a file and what to do about it, judged by its first bytes; None for others."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            file = opened.read(512)
    start = file[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return "the address of a file in Git LFS, not the file: run git lfs pull where it lies"
    if start.startswith(PAGES):
        return "a page of the web, not the file: download it again, signed in if the page asks for it"
    return None
