"""Named queries from .sql files: `-- name: lock_head` starts one, the next name or the end of the file ends it."""

import re
from functools import cache
from pathlib import Path
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries(path: Path) -> dict[str, LiteralString]:
    """The queries of one file by name. The text is ours, from the package, hence LiteralString."""
    parts = _NAME.split(path.read_text(encoding="utf-8"))
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert len(named) * 2 + 1 == len(parts), f"a query name stands twice in {path.name}"
    return cast(dict[str, LiteralString], named)


QUERIES = queries(Path(__file__).with_name("queries.sql"))
"""The write side's queries (queries.sql)."""
