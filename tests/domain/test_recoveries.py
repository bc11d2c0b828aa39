"""A recovery of the log is on record, each time and in the words of what was done."""

import pytest

from ledger.domain.recoveries import LogRecovered, RecoverLog
from tests.domain.story import given, on, order

DID = {"grounds": "ticket 88", "kept_size": 3, "restored": 2, "texts_lost": 1, "signed_size": 5, "signed_root": "AAAA"}


@pytest.mark.parametrize("kind", ["guard", "entries", "anew"])
def test_a_recovery_is_on_record_each_time(kind: str) -> None:
    old = {"old_origin": "example/log", "old_vkey": "example/log+00000000+AAAA"} if kind == "anew" else {}
    recover, recovered = order(RecoverLog, kind=kind, **DID, **old), LogRecovered(kind=kind, **DID, **old)
    given().when(recover).then(recovered).so("log", version=1)
    given(on(2, recovered)).when(recover).then(recovered).so("log", version=2)
    assert recover.streams() == (recovered.stream,)
