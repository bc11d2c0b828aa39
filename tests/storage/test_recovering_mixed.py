"""A database, keys and a guard that were each put back from another time: no service starts that must not, and then
`recover` never says that all is well.
"""

import shutil
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from ledger.app import Fork
from ledger.key_provider import KeyProblem
from ledger.log_rotation import rotate_log_key
from tests.storage.log import Log, copied, copy_directory, make, told
from tests.storage.place import Place

pytestmark = pytest.mark.usefixtures("signed")


def append(place: Place, *numbers: int) -> None:
    with place.open() as ledger:
        told(ledger, *(make(number) for number in numbers))


def test_where_no_service_starts_recover_says_why(log: Log, tmp_path: Path) -> None:
    place, urls = Place(log, log.settings), list[str]()
    times = (
        lambda: append(place, 1, 2),
        lambda: rotate_log_key(place.settings, lambda: log.now),
        lambda: append(place, 3),
        lambda: place.anew(),
        lambda: append(place, 4),
    )
    with ExitStack() as copies:
        for number, happens in enumerate(times):
            happens()
            urls.append(copies.enter_context(copied(log.url, f"ledger_time_{number}")))
            copy_directory(log.settings.data_dir, tmp_path / f"{number}")
        numbers = range(len(times))
        for database, key, guard in product(numbers, numbers, [*numbers, None]):
            home = tmp_path / f"{database}.{key}.{guard}"
            home.mkdir(mode=0o700)
            shutil.copytree(tmp_path / f"{key}/keys", home / "keys")
            if guard is not None:
                shutil.copy(tmp_path / f"{guard}/guard", home)
            found = Place(log, log.settings.model_copy(update={"database_url": urls[database], "data_dir": home}))
            said = found.diagnosis()
            if database == key == guard:
                assert said.problems == ()
            try:
                found.open().close()
            except (Fork, KeyProblem):
                assert said.problems, f"all is well, with the guard of time {guard} and the key of {key} at {database}"
                assert said.commands
            else:
                assert guard is not None
                assert guard <= database, "the guard knows of nothing that is not here"
