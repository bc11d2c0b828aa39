"""Which events, findings and promises go into a pack, under which checkpoint; the same again is the same."""

import json
import subprocess
from datetime import timedelta
from hashlib import sha256, sha512
from pathlib import Path

import psycopg
import pytest

from deploy.exporting import ExportRefused
from deploy.pack import verify_pack
from deploy.pack.selecting import Sample
from ledger.storage.sql import QUERIES
from ledger.timestamps import request_for
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.note import Note, Verifier
from ledger.tlog.policy import Policy
from ledger.tlog.proof_file import ProofFile
from projections.runner import Runner
from tests.packs.making import (
    ERASING,
    NOBODY,
    WITNESS,
    Packs,
    change,
    export,
    files,
    leaves,
    owner,
    problem,
    sign,
    sql,
    verified,
)
from tests.service.test_timestamps import OPENSSL, Authority
from tests.storage.log import NOON, Log, claim, make, submission, tell, told


def test_all_is_every_event_and_needs_no_proofs(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    assert leaves(pack) == sql(log, "true")
    assert not (pack / "proofs").exists()
    assert (pack / "entries.jsonl").read_bytes() == b"".join(state + b"\n" for state in log.states())
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert f"AS SIGNED: {len(log.states())} events of {log.settings.origin}" in said
    assert "every event of the log up to the checkpoint is here" in said


@pytest.mark.parametrize("customer", ["C-1", "C-2", "C-3"])
def test_a_customer_is_every_event_that_carries_them(log: Log, packs: Packs, away: Path, customer: str):
    pack = packs.copy(away, "customer", customer)
    assert leaves(pack) == sql(log, "entry ->> 'customer_id' = %s", customer)
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "is the owner's signed word, and no proof" in said


def test_a_case_is_whole_streams_but_of_an_outage_only_what_names_it(log: Log, case: Path):
    whole = "stream IN ('promise:P-1', 'disclosure:D-1', 'promise:D-1:next-update')"
    assert leaves(case) == sql(log, f"{whole} OR entry ->> 'case_id' = 'case-77'")
    assert json.loads((case / "pack.json").read_bytes())["streams"]["outage:U-1"] == 3
    code, said = verified(case, "--vkey", log.vkey)
    assert code == 0
    assert "3 of 4 streams are here from their first version" in said
    assert b"note 3" not in b"".join(files(case).values()), "the words of another customer in the same outage"


def test_a_promise_is_its_stream_and_the_streams_that_name_it(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "promise", "P-1")
    assert leaves(pack) == sql(log, "stream IN ('promise:P-1', 'disclosure:D-1', 'disclosure:D-4', 'followup:F-1')")
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "4 of 4 streams" in said


def test_a_time_is_what_was_recorded_from_the_one_moment_on_and_before_the_other(log: Log, away: Path):
    start, stop = NOON + timedelta(hours=6), NOON + timedelta(days=3)
    pack = export(log, away / "both", "from", start=start, stop=stop)
    between = "(entry ->> 'recorded_at')::timestamptz BETWEEN %s AND %s"
    assert leaves(pack) == sql(log, between, start, stop - timedelta(microseconds=1)) == [5, 6, 7, 8]
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "no event from leaf 5 to before leaf 9 is left out" in said
    to = [0, 1, 2, 3, 4, ERASING]  # because of the words of C-2, at leaf 1
    assert leaves(export(log, away / "to", "from", stop=start)) == to
    assert leaves(export(log, away / "open", "from", start=start)) == list(range(5, len(log.states())))


def test_a_pack_of_another_promise_and_one_without_the_promise_itself_are_refused(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "promise", "P-1")
    assert "what was selected: Every stream that names the promise P-1, as a whole" in verified(pack)[1]
    change(pack / "pack.json", '"promise": "P-1"', '"promise": "P-2"')
    sign(pack, owner(log))
    assert problem(pack, log) == "pack.json: disclosure:D-1 does not name what was asked for"
    about = {"stream": "disclosure:D-1", "version": 1, "data": {"about_promise_id": "P-1"}}
    said = {"selected_by": {"promise": "P-1"}, "sample": None, "also": [], "streams": {"disclosure:D-1": 1}}
    with pytest.raises(verify_pack.Wrong, match="the promise asked for is not here"):
        verify_pack.completeness(said, {0: about})


def test_a_time_that_the_events_are_not_of_is_found_even_if_signed_for(log: Log, away: Path):
    start, stop = NOON + timedelta(hours=6), NOON + timedelta(days=3)
    pack = export(log, away, "from", start=start, stop=stop)
    original = (pack / "pack.json").read_bytes()
    for old, new in (
        ('"from": "2026-03-01T18:00:00Z"', '"from": "2026-03-01T18:00:00.5Z"'),
        ("2026-03-04T12", "2026-03-01T18"),
    ):
        change(pack / "pack.json", old, new)
        sign(pack, owner(log))
        assert problem(pack, log) == "entries.jsonl, leaf 5: it was recorded at another time"
        (pack / "pack.json").write_bytes(original)


def test_what_nobody_recorded_is_refused(log: Log, away: Path):
    for by, value in (("customer", "C-none"), ("case", "case-none"), ("promise", "P-none")):
        with pytest.raises(ExportRefused, match="no event"):
            export(log, away, by, value)
    with pytest.raises(ExportRefused, match="no checkpoint of 3 events"):
        export(log, away, size=3)
    assert not away.parent.exists() or list(away.parent.iterdir()) == []


def test_findings_and_promises_are_those_of_the_report_as_of_the_checkpoint(log: Log, packs: Packs, away: Path):
    Runner(log.url, log.secrets).catch_up()
    pack = packs.copy(away, "all")
    as_of = json.loads((pack / "pack.json").read_bytes())["as_of"]
    opened = "opened_at <= %s AND NOT prevented"
    known = log.ask(f"SELECT code, subject, opened_by, closed_by FROM audit.finding_history WHERE {opened}", as_of)
    rows = verify_pack.rows_of((pack / "findings.csv").read_bytes())
    found = [(row["code"], row["subject"], row["opened_by"], row["closed_by"]) for row in rows]
    assert sorted(found) == sorted(tuple("" if each is None else str(each) for each in row) for row in known)
    assert {"overdue", "claimed-not-verified"} <= {row["code"] for row in rows}
    stood = (
        "SELECT promise_id, standing, fulfilment, timeliness, version::text FROM audit.promises_as_of(known_at => %s)"
    )
    rows = verify_pack.rows_of((pack / "promises.csv").read_bytes())
    names = ("promise_id", "standing", "fulfilment", "timeliness", "events")
    assert sorted(tuple(row[name] for name in names) for row in rows) == sorted(log.ask(stood, as_of))


def test_findings_of_a_pack_touch_its_customers_and_nobody_else(case: Path, packs: Packs, away: Path):
    found, caused_elsewhere = {}, ("rests-on-falsehood", "undisclosed-problem")
    for by, value in (("case", "case-77"), ("promise", "P-1"), ("customer", "C-1"), ("customer", "C-3")):
        pack = case if by == "case" else packs.copy(away / f"{by}-{value}", by, value)
        rows = verify_pack.rows_of((pack / "findings.csv").read_bytes())
        assert {row["customer_id"] for row in rows} == {"C-3" if value == "C-3" else "C-1"}
        found[value] = {(row["subject"], row["proven_here"]) for row in rows if row["code"] in caused_elsewhere}
        assert len(verify_pack.check(str(pack)).raw) == len(leaves(pack))
    falsehood, problem = ("disclosure:D-4", "no"), ("problem:X-1", "no")  # recorded of C-3
    assert found["case-77"] == set()
    assert found["P-1"] == {falsehood}
    assert found["C-1"] == {falsehood, problem}
    assert found["C-3"] == {("problem:X-1", "yes")}
    rows = verify_pack.rows_of((away / "customer-C-3/findings.csv").read_bytes())
    assert "correction-owed" in {row["code"] for row in rows}


def test_a_sample_is_the_smallest_hashes_of_the_seed_and_can_be_drawn_again(log: Log, away: Path):
    pack = export(log, away / "one", sample=Sample(5, "2026-audit"))
    by_hash = sorted(range(len(log.states())), key=lambda leaf: sha256(f"2026-audit\n{leaf}".encode()).digest())
    drawn = {int(name[7:-11]) for name in files(pack) if name.startswith("proofs/")}
    also = set(json.loads((pack / "pack.json").read_bytes())["also"])
    assert drawn - also <= set(by_hash[:5]) <= drawn
    assert also <= set(sql(log, "entry ->> 'type' = 'subject.erasure_requested'"))
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "what was selected: All events of the ledger; of these a sample of 5, by the seed 2026-audit\n" in said
    assert files(export(log, away / "two", sample=Sample(5, "2026-audit"))) == files(pack)
    assert leaves(export(log, away / "other", sample=Sample(5, "2027-audit"))) != leaves(pack)
    assert leaves(export(log, away / "many", sample=Sample(99, "x"))) == list(range(len(log.states())))


def test_another_sample_than_the_seed_draws_is_found_even_if_signed_for(log: Log, away: Path):
    pack = export(log, away, sample=Sample(3, "s"))
    change(pack / "pack.json", '"seed": "s"', '"seed": "t"')
    sign(pack, owner(log))
    assert verified(pack, "--vkey", log.vkey)[0] == 1


def test_what_the_seed_did_not_draw_is_not_added_to_a_sample(log: Log, packs: Packs, away: Path):
    pack = packs.copy(away, "all")
    found = json.loads((pack / "pack.json").read_bytes())
    found |= {"sample": {"count": 3, "seed": "s"}, "also": list(range(len(log.states())))}
    (pack / "pack.json").write_bytes(verify_pack.json_of(found, 1))
    sign(pack, owner(log))
    assert problem(pack, log) == "pack.json: it adds events that no erased or lost text names"


def test_the_same_is_exported_byte_for_byte_also_after_the_log_has_grown(readable: str, data_dir: Path, away: Path):
    log = Log(readable, data_dir)
    told(log.open(), make(1), make(2))
    log.close()
    first = export(log, away / "first", "customer", "C-1")
    assert files(export(log, away / "again", "customer", "C-1")) == files(first)
    log.now += timedelta(days=2)
    told(log.open(), tell(1), make(8), claim(1))
    log.close()
    assert leaves(export(log, away / "grown", "customer", "C-1")) == [0, 2, 3, 4, 5]
    assert files(export(log, away / "then", "customer", "C-1", size=2)) == files(first)
    log.now += timedelta(days=1)
    told(log.open(), submission("subject.erase", "e-1", customer_id="C-1", grounds="art-17-1-a"))
    log.close()
    with pytest.raises(ExportRefused, match="take a later one"):
        export(log, away / "erased", "customer", "C-1", size=2)


def test_the_newest_cosigned_checkpoint_that_covers_it_is_taken(readable: str, data_dir: Path, away: Path):
    policy = Policy.parse(f"log {NOBODY.vkey}\nwitness w {WITNESS.verifier.vkey}\nquorum w\n".encode())
    log = Log(readable, data_dir)
    told(log.open(), make(1))
    log.close()
    note = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")[0][0]
    cosigned = note.encode() + WITNESS.cosign(Checkpoint.parse(Note.parse(note).text), 1_800_000_000).format().encode()
    with psycopg.connect(readable) as connection:
        stored = {"size": 1, "note": cosigned.decode(), "stored_at": NOON}
        connection.execute(QUERIES["store_witnessed"], stored)
    log.now += timedelta(days=2)
    told(log.open(), make(2))
    log.close()
    one = export(log, away / "one", "customer", "C-1", policy=policy)
    assert (one / "checkpoint").read_bytes() == cosigned
    assert (one / "keys.txt").read_text() == f"log {log.vkey}\nwitness {WITNESS.verifier.vkey}\n"
    code, said = verified(one, "--vkey", log.vkey, "--witness", WITNESS.verifier.vkey)
    assert code == 0
    assert "cosigned by witness.example/w\n" in said
    assert "cosigned by witness.example/w by keys that the pack names" in verified(one, "--vkey", log.vkey)[1]
    two = export(log, away / "two", "customer", "C-2", policy=policy)
    assert json.loads((two / "pack.json").read_bytes())["checkpoint"]["size"] == 2
    assert verified(two, "--vkey", log.vkey)[0] == 0
    assert "it is not signed by witness.example/w" in problem(two, log, witnesses=[WITNESS.verifier.vkey])
    told(log.open(), submission("subject.erase", "e-1", customer_id="C-1", grounds="art-17-1-a"))
    log.close()
    erased = export(log, away / "erased", "promise", "P-1", policy=policy)
    assert json.loads((erased / "pack.json").read_bytes())["checkpoint"]["size"] == 3, (
        "it covers what orders the erasure"
    )
    assert (erased / "texts.txt").read_text() == "0 erased 2 [erased on 2026-03-03]\n"
    change(one / "checkpoint", "witness.example/w ", "witness.example/x ")
    sign(one, owner(log))
    assert "checkpoint: it is not signed by witness.example/w" in problem(one, log)


@pytest.mark.skipif(OPENSSL is None, reason="needs the program openssl for a timestamp authority")
def test_a_checkpoint_that_was_stamped_is_taken_with_its_stamp(readable: str, data_dir: Path, away: Path):
    authority, log = Authority(away.with_name("authority")), Log(readable, data_dir)
    told(log.open(), make(1))
    log.close()
    note = log.ask("SELECT note FROM ledger.checkpoints WHERE size = 1")[0][0]
    text = Note.parse(note).text
    row = {"size": 1, "note": note, "response": authority.reply(request_for(text).as_bytes()), "stored_at": NOON}
    with psycopg.connect(readable) as connection:
        connection.execute(QUERIES["store_timestamp"], row)
    log.now += timedelta(days=2)
    told(log.open(), make(2))
    log.close()
    newer = {"size": 2, "note": log.ask("SELECT note FROM ledger.checkpoints WHERE size = 2")[0][0], "stored_at": NOON}
    with psycopg.connect(readable) as connection:
        connection.execute(QUERIES["store_witnessed"], newer)
    pack = export(log, away / "stamped", "customer", "C-1")
    code, said = verified(pack, "--vkey", log.vkey)
    assert code == 0
    assert "a timestamp names this checkpoint" in said
    (away / "text").write_bytes(b"".join((pack / "checkpoint").read_bytes().splitlines(keepends=True)[:3]))
    asked = ["ts", "-verify", "-in", pack / "timestamp.tsr", "-data", away / "text", "-CAfile", authority.root]
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *asked], check=True, capture_output=True)
    assert not (export(log, away / "later", "customer", "C-2") / "timestamp.tsr").exists()
    stamp = (pack / "timestamp.tsr").read_bytes()
    digest = sha512(text.encode()).digest()
    assert digest in stamp
    (pack / "timestamp.tsr").write_bytes(stamp.replace(digest, sha512(b"another").digest()))
    sign(pack, owner(log))
    assert problem(pack, log) == "timestamp.tsr: it is of another checkpoint"


def test_proofs_are_those_of_the_specification(log: Log, case: Path):
    states = log.states()
    for leaf in leaves(case):
        proof = ProofFile.parse((case / f"proofs/{leaf}.tlog-proof").read_bytes())
        assert proof.index == leaf
        proof.verify(verify_pack.leaf_hash(states[leaf]), Verifier.parse(log.vkey))
