import ast
from pathlib import Path

import ledger.tlog

ALLOWED = {"base64", "binascii", "collections", "dataclasses", "datetime", "functools", "hashlib", "itertools", "re"}
ALLOWED |= {"typing", "cryptography", "orjson", "ledger"}


def test_the_log_library_imports_nothing_that_could_do_io_and_nothing_else_of_the_project():
    for file in Path(ledger.tlog.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in ALLOWED, (file.name, name)
                assert not name.startswith("ledger") or name.startswith("ledger.tlog."), (file.name, name)
            assert not (isinstance(node, ast.Name) and node.id in {"open", "print", "input", "eval", "exec"}), file.name
