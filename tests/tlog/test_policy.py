import pytest

from ledger.tlog.errors import BadProof, Malformed, MalformedPolicy
from ledger.tlog.note import open_note
from ledger.tlog.policy import Policy
from ledger.tlog.witness import Cosigner
from tests.tlog.examples import LOG, POLICY, SIGNED, WITNESS, checkpoint

WITNESSES = {1: WITNESS, 2: Cosigner("witness.example/w2", b"2" * 32), 3: Cosigner("witness.example/w3", b"3" * 32)}
W1, W2 = f"witness W1 {WITNESSES[1].vkey}\n", f"witness W2 {WITNESSES[2].vkey}\n"


def met(policy: str, *cosigners: int) -> bool:
    parsed = Policy.parse(policy)
    lines = "".join(WITNESSES[number].cosign(checkpoint(7), 5).format() for number in cosigners)
    verifiers = [LOG.verifier, *(witness.verifier for witness in parsed.witnesses)]
    try:
        parsed.check(open_note(SIGNED + lines.encode(), verifiers).verified)
    except BadProof:
        return False
    return True


def test_a_policy_says_who_is_trusted_and_where_they_are():
    policy = Policy.parse(POLICY.encode())
    assert [(log.verifier.vkey, log.url) for log in policy.logs] == [(LOG.vkey, "https://log.example/")]
    assert [witness.name for witness in policy.witnesses] == ["W1", "W2", "W3"]
    assert policy.quorum == "enough"


def test_a_quorum_of_groups_is_met_as_the_groups_say():
    assert [met(POLICY, *numbers) for numbers in ([1], [2, 3], [1, 2, 3])] == [True] * 3
    assert [met(POLICY, *numbers) for numbers in ([], [2], [3])] == [False] * 3


def test_thresholds_count_members():
    policy = f"{W1}{W2}group g 2 W1 W2\nquorum g\n"
    assert met(policy, 1, 2)
    assert not met(policy, 1)
    assert met(f"{W1}{W2}quorum W2\n", 2)
    assert not met(f"{W1}{W2}quorum W2\n", 1)
    assert met(f"{W1}group g any W1\nquorum g\n", 1)
    assert met("quorum none\n")


def test_so_many_definitions_are_read_and_no_more():
    chain = [f"group g{number} any {f'g{number - 1}' if number else 'W1'}\n" for number in range(256)]
    assert len(Policy.parse("".join([W1, *chain[:255], "quorum g254\n"])).groups) == 255
    with pytest.raises(MalformedPolicy, match="at most 256 definitions"):
        Policy.parse("".join([W1, *chain, "quorum g255\n"]))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "quorum none",
        "quorum none\nquorum none\n",
        "quorum nobody\n",
        "quorum\n",
        "quorum none x\n",
        "q none\n",
        f"log {LOG.vkey}\n" * 2 + "quorum none\n",
        f"log {WITNESS.vkey}\nquorum none\n",
        "log\nquorum none\n",
        W1 + W1.replace("W1", "W9") + "quorum none\n",
        f"witness W1 {LOG.vkey}\nquorum none\n",
        "witness W1\nquorum none\n",
        W1 + W2.replace("W2", "W1") + "quorum none\n",
        W1.replace("W1", "none") + "quorum none\n",
        f"{W1}group g any W2\n{W2}quorum g\n",
        f"{W1}group g any W1 W1\nquorum g\n",
        f"{W1}group g any g\nquorum g\n",
        f"{W1}group g 0 W1\nquorum g\n",
        f"{W1}group g 2 W1\nquorum g\n",
        f"{W1}group g 01 W1\nquorum g\n",
        f"{W1}group g any none\nquorum g\n",
        f"{W1}group g any\nquorum g\n",
        "group g\nquorum none\n",
        "group\nquorum none\n",
        f"{W1}group W1 any W1\nquorum W1\n",
        f"{W1}group g any W1\ngroup h any W1\nquorum g\n",
        f"quorum W1\n{W1}",
        f"{W1}group none any W1\nquorum none\n",
        "quorum none\r\n",
        "# \0\nquorum none\n",
        "quorum\u00a0none\n",
        b"# \xff\nquorum none\n",
        None,
        7,
        pytest.param("#" * 70_000 + "\nquorum none\n", id="too long"),
    ],
)
def test_text_that_is_no_policy_is_malformed(text):
    with pytest.raises(Malformed):
        Policy.parse(text)
