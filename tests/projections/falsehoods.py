"""Many disclosures that rest on one another, as tables: for what takes too long to be told by commands."""

from typing import Any

from psycopg import Connection
from psycopg.sql import SQL

from tests.projections.world import at


def fill(connection: Connection[Any], links: list[tuple[str, str]], falsified: str) -> None:
    """Disclosures and what they rest on, straight into the tables, as 100,000 commands would leave them."""
    ids = sorted({each for link in links for each in link})
    leaf = {each: index for index, each in enumerate(ids)}
    customer = {each: f"C-{index % 500}" for index, each in enumerate(ids)}
    moment, basis = at(0), {dependent: basis_id for basis_id, dependent in links}
    cursor = connection.cursor()
    with cursor.copy(SQL("COPY read_disclosures_v1.disclosures FROM STDIN")) as copy:
        for each in ids:
            false_at = moment if each == falsified else None
            based_on = [basis[each]] if each in basis else []
            said = (each, customer[each], 1, "u-1", "known", based_on, moment, *[None] * 5)
            copy.write_row((*said, false_at, false_at, [], None, leaf[each], leaf[each]))
    with cursor.copy(SQL("COPY read_disclosures_v1.tellings FROM STDIN")) as copy:
        for each in ids:
            copy.write_row((each, "u-1", "phone", None, None, False, None, None, None, leaf[each]))
    with cursor.copy(SQL("COPY read_disclosures_v1.links FROM STDIN")) as copy:
        for basis_id, dependent in links:
            row = (dependent, customer[dependent], "u-1", moment, "u-1", moment, leaf[dependent])
            copy.write_row((basis_id, "disclosure", *row))
    with cursor.copy(SQL("COPY read_disclosures_v1.history FROM STDIN")) as copy:
        said = (falsified, customer[falsified], 2, "u-1", "known", [], moment, *[None] * 5)
        event = (len(ids), "disclosure.falsified", moment, moment, "u-1", "crm")
        copy.write_row((*said, moment, moment, [], None, leaf[falsified], *event))
    cursor.execute("ANALYZE read_disclosures_v1.links, read_disclosures_v1.disclosures, read_disclosures_v1.tellings")


def chain(name: str, size: int) -> list[tuple[str, str]]:
    return [(f"{name}-{index}", f"{name}-{index + 1}") for index in range(size)]


def star(centre: str, size: int) -> list[tuple[str, str]]:
    return [(centre, f"{centre}.{index}") for index in range(size)]
