"""A file system that is full at a word, and every place that flushes a file to disk."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("ledger", "projections", "consumers", "deploy")
FLUSHES = ("fsync", "fdatasync", "flush_directory")
Site = tuple[str, str]
"""A file of ours, and the function in it that flushes something."""


class Disk:
    """A file system in memory at `path`, mounted by root; `fill` takes all room that is left, `clear` gives it back."""

    SIZE = "size=20g"  # NATS wants to see the room for its streams; nothing is taken before it is used

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mount("-t", "tmpfs", "-o", f"{self.SIZE},mode=0711", "tmpfs")

    def fill(self) -> None:
        for more in range(1_000):  # somebody may write meanwhile
            room = os.statvfs(self.path)
            try:
                self._mount("-o", f"remount,size={(room.f_blocks - room.f_bfree + more) * room.f_frsize}")
            except subprocess.CalledProcessError:
                continue
            return
        raise AssertionError("it does not become full")

    def clear(self) -> None:
        self._mount("-o", f"remount,{self.SIZE}")

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, self.path], check=True, capture_output=True)


def sites() -> set[Site]:
    """Every function that flushes files or directories to disk, as the source has it."""
    return {site for part in PARTS for path in (ROOT / part).rglob("*.py") for site in _in(path)}


def _in(path: Path) -> Iterator[Site]:
    for function in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name not in FLUSHES:
            called = {_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}
            if called.intersection(FLUSHES):
                yield str(path.relative_to(ROOT)), function.name


def _name(function: ast.expr) -> str:
    match function:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""
