"""Every parser against hostile input: what `tests.tlog.properties` says holds of noise and of bent examples."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.errors import TlogError
from ledger.tlog.proofs import verify_consistency, verify_inclusion
from tests.tlog.properties import PROPERTIES, READINGS

SPICE = [
    b"\0",
    b"\n",
    b"\n\n",
    b"\r\n",
    b" ",
    b"+",
    b"=",
    b"0",
    b"-",
    b"x",
    b"\xff",
    "—".encode(),
    "٣".encode(),
    b"9" * 30,
]


def mutations(examples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid examples with up to three slices cut out and replaced, and plain noise."""

    @st.composite
    def mutate(draw: st.DrawFn) -> bytes:
        data = draw(st.sampled_from(examples))
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(data)))
            end = min(len(data), start + draw(st.integers(0, 4)))
            data = data[:start] + draw(st.sampled_from(SPICE) | st.binary(max_size=3)) + data[end:]
        return data

    return mutate() | st.binary(max_size=200)


@pytest.mark.parametrize("name", READINGS)
def test_a_parser_writes_its_examples_back(name: str):
    reading, examples = READINGS[name]
    assert [reading(example) for example in examples] == examples


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_parser_accepts_only_what_it_would_write_and_nothing_bent(name: str):
    holds, examples = PROPERTIES[name]
    for example in examples:
        holds(example)

    @settings(max_examples=150, deadline=None, database=None)
    @given(mutations(examples))
    def check(data: bytes) -> None:
        holds(data)

    check()


ANYTHING = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=40) | st.just(b"h" * 32)


@settings(max_examples=150, deadline=None, database=None)
@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING | st.lists(ANYTHING, max_size=5), ANYTHING)
def test_no_noise_is_a_proof(first, second, third, proof, fifth):
    for verify, arguments in [
        (verify_inclusion, (third, first, second, proof, fifth)),
        (verify_consistency, (first, second, proof, third, fifth)),
    ]:
        try:
            verify(*arguments)
        except TlogError:
            continue
        assert (third, proof) == (fifth, [])
