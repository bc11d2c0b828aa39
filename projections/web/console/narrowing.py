"""A list asked for one value of a column: what was asked for, and cells that lead to the rows that have the same."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from projections.web.console.asked import Asked, Unclear
from projections.web.console.cells import LINKED, cell, label, link
from projections.web.console.lists import LISTS, Listing


def narrowed(listing: Listing, query: Mapping[str, str]) -> dict[str, str]:
    """What a list is asked for by column. Raises Unclear for a value that a column never has: "None" would mislead."""
    where = {column: value for column in listing.filters if (value := query.get(column, "").strip())}
    for column, value in where.items():
        if "\x00" in value:
            raise Unclear("nothing has a value with a NUL character in it")
        if (values := listing.filters[column]) and value not in values:
            raise Unclear(f"there is no {label(column)} {value!r}: {', '.join(values)}")
    return where


def narrowing(column: str, value: Any, *, name: str, where: Mapping[str, str], asked: Asked) -> Markup:
    """A cell of the list `name`; what is no link yet leads to the rows that have the same there."""
    shown = cell(column, value, asked)
    if value is None or column not in LISTS[name].filters or column in where or column in LINKED:
        return shown
    return link(asked.address(f"list/{name}", **{**where, column: value}), shown)
