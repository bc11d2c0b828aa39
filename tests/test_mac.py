"""Our HMAC is the standard library's, for every length of key that it takes and of message."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from ledger.mac import hmac_sha256, keyed


@given(key=st.binary(max_size=64), message=st.binary(max_size=2000))
def test_the_mac_is_that_of_the_standard_library(key: bytes, message: bytes) -> None:
    expected = hmac.digest(key, message, "sha256")
    assert hmac_sha256(key, message) == expected
    assert keyed(key)(message) == keyed(key)(message) == expected
