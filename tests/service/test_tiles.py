"""The log over HTTP and as a static site, read by a client that has nothing but c2sp.org/tlog-tiles and a key."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import tlog_scales.backend
import tlog_scales.reader
import tlog_scales.signing
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

from deploy.exporting import export_tiles
from ledger.storage.sql import QUERIES
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.merkle import leaf_hash, root
from ledger.tlog.note import Verifier
from ledger.tlog.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from ledger.tlog.tiles import ENTRIES, node_reader, parse_bundle, tile_path, tile_width, tiles_between
from projections.web.app import create_app
from projections.web.tiles import accepts_gzip, open_pool
from tests.service.entries import GARBAGE, LOG, TOO_LONG, entry, sign, store
from tests.service.serving import Answer, ask, served
from tests.storage.log import Log, make, told

SIZE = 70_000
"""The example of the specification: 273 full tiles and one of 112, one full and one of 17 above, one of 1 on top."""


@dataclass(frozen=True)
class Large:
    """A log of 70,000 entries and the port where it is served."""

    url: str
    port: int
    note: bytes

    def get(self, path: str, **headers: str) -> Answer:
        return ask(self.port, f"/{path}", **headers)


@pytest.fixture(scope="module")
def large(postgres_url: str, _template: str) -> Iterator[Large]:
    name = Identifier("ledger_tiles")
    url = urlsplit(postgres_url)._replace(path="/ledger_tiles").geturl()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(name, Identifier(_template)))
        note = sign(url, store(url, [entry(index) for index in range(SIZE)]))
        with open_pool(url) as pool, served(create_app(url, pool)) as port:
            yield Large(url, port, note)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_the_whole_tree_is_what_the_served_entries_make(large: Large):
    served_checkpoint, _ = open_checkpoint(large.get("checkpoint").body, LOG.verifier)
    entries: list[bytes] = []
    for tile in tiles_between(0, served_checkpoint.size):
        answer = large.get(tile_path(*tile))
        assert (answer.status, len(answer.body)) == (200, 32 * tile.width)
        if tile.level == 0:
            bundle = parse_bundle(large.get(tile_path(ENTRIES, tile.index, tile.width)).body, tile.width)
            assert b"".join(map(leaf_hash, bundle)) == answer.body
            entries += bundle
    assert entries == [entry(index) for index in range(SIZE)]
    assert (served_checkpoint.size, served_checkpoint.root) == (SIZE, root(entries))


def test_proofs_from_served_tiles_alone_hold_for_leaves_and_older_trees(large: Large):
    checkpoint, _ = open_checkpoint(large.get("checkpoint").body, LOG.verifier)
    node = node_reader(SIZE, cache(lambda tile: large.get(tile_path(*tile)).body))
    for index in [*range(0, SIZE, 997), 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1]:
        proof = inclusion_proof(index, SIZE, node)
        verify_inclusion(leaf_hash(entry(index)), index, SIZE, proof, checkpoint.root)
    for older in (1, 255, 256, 300, 65_535, 65_536, 65_793, SIZE):
        root1 = root(entry(index) for index in range(older))
        verify_consistency(older, SIZE, consistency_proof(older, SIZE, node), root1, checkpoint.root)


def test_a_reader_that_we_did_not_write_finds_the_same_root_entries_and_proofs(large: Large):
    backend = tlog_scales.backend.HttpBackend(f"http://127.0.0.1:{large.port}")
    with backend.session:
        reader = tlog_scales.reader.TilesReader(backend)
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(tlog_scales.signing.Vkey.from_string(LOG.vkey))
        assert reader.calculate_root_hash() == checkpoint.root_hash
        for index in (0, 255, 256, 65_536, SIZE - 1):
            assert reader.get_entry(index) == entry(index)
            proof = reader.get_inclusion_proof(index, SIZE)
            verify_inclusion(leaf_hash(entry(index)), index, SIZE, proof.node_hashes, checkpoint.root_hash)
        ours = root(entry(index) for index in range(300))
        reader.get_consistency_proof(300, SIZE).check(ours, checkpoint.root_hash)


def test_a_tile_is_served_at_every_width_that_the_log_has_reached(large: Large):
    for level, index in [(0, 0), (0, 273), (1, 0), (1, 1), (2, 0)]:
        reached = tile_width(level, index, SIZE)
        widest = large.get(tile_path(level, index, reached)).body
        for width in sorted({1, 2, 16, 17, 111, 112, 255} | {reached}):
            answer = large.get(tile_path(level, index, width))
            expected = (200, widest[: 32 * width]) if width <= reached else (404, b"not found\n")
            assert (answer.status, answer.body) == expected
    for width in (1, 112):
        bundle = parse_bundle(large.get(f"tile/entries/273.p/{width}").body, width)
        assert bundle == [entry(273 * 256 + place) for place in range(width)]
    assert large.get("tile/entries/273.p/113").status == 404


NOT_THERE = """
tile/0/273 tile/0/274 tile/0/274.p/1 tile/1/001 tile/2/000 tile/3/000.p/1 tile/63/000.p/1 tile/64/000 tile/0/x000/000
tile/0/0 tile/00/000 tile/0/000.p/0 tile/0/000.p/01 tile/0/000.p/256 tile/0/000/ tile/0/000.p tile/0/000.p/ tile/-1/000
tile/entries tile/entries/274 tile/entries/x009/x223/x372/x036/x854/x775/807 tile/ tile tile/data/000 tile/0/%00
tile/0/000%0A tile/0/%C3%A9 tile/0/%D9%A0%D9%A0%D9%A0 checkpoint/ tile nothing/of/ours
"""


@pytest.mark.parametrize("path", NOT_THERE.split())
def test_what_is_not_there_or_not_spelled_right_is_not_found_and_not_remembered(large: Large, path: str):
    answer = large.get(path)
    assert (answer.status, answer.body) == (404, b"not found\n")
    assert answer.headers["cache-control"] == "no-store"


def test_what_may_not_be_asked_so_is_not_remembered_either(large: Large):
    answer = ask(large.port, "/tile/0/000", method="DELETE")
    assert (answer.status, answer.headers["cache-control"]) == (405, "no-store")
    assert {"GET", "HEAD"} == set(answer.headers["allow"].split(", "))


def test_types_and_cache_times_are_those_of_the_specification(large: Large):
    checkpoint = large.get("checkpoint")
    assert checkpoint.body == large.note
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert checkpoint.headers["cache-control"] == "max-age=2"
    for path in ("tile/0/000", "tile/1/000", "tile/entries/000"):
        headers = large.get(path).headers
        assert headers["content-type"] == "application/octet-stream"
        assert headers["cache-control"] == "max-age=31536000, immutable"
        assert "immutable" not in large.get(f"{path}.p/3").headers["cache-control"]
        head = ask(large.port, f"/{path}", method="HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", headers["content-length"])


def test_entries_are_gzipped_for_those_who_take_it_and_tiles_never(large: Large):
    plain, packed = large.get("tile/entries/000"), large.get("tile/entries/000", Accept_Encoding="br, gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in large.get("tile/0/000", Accept_Encoding="gzip").headers


def test_gzip_is_taken_only_where_it_is_named_and_not_refused():
    for accepted in ("gzip", "GZIP", "br,gzip", "gzip;q=0.5", "gzip; q=1", "identity;q=0, gzip"):
        assert accepts_gzip(accepted)
    for refused in ("", "*", "br", "gzip;q=0", "gzip; q=0.000", "x-gzipped", "identity"):
        assert not accepts_gzip(refused)


def test_a_site_has_the_bytes_that_are_served_and_nothing_else(large: Large, tmp_path: Path):
    site = tmp_path / "new" / "site"
    exported = export_tiles(large.url, site, lambda done, total: None)
    files = {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    tiles = list(tiles_between(0, SIZE))
    assert set(files) == {
        "checkpoint",
        *(tile_path(*tile) for tile in tiles),
        *(tile_path(ENTRIES, tile.index, tile.width) for tile in tiles if tile.level == 0),
    }
    assert (exported.size, exported.written) == (SIZE, len(files))
    for path in ["checkpoint", *sorted(files)[::17], "tile/2/000.p/1", "tile/1/001.p/17", "tile/entries/273.p/112"]:
        assert large.get(path).body == files[path], path
    reader = tlog_scales.reader.TilesReader(tlog_scales.backend.LocalBackend(site))
    assert reader.get_checkpoint().root_hash == reader.calculate_root_hash()

    files_before = {path: path.stat().st_ino for path in site.rglob("*") if path.is_file()}
    assert export_tiles(large.url, site, lambda done, total: None).written == 0
    missing = [site / "tile/0/007", site / "tile/entries/011", site / "checkpoint"]
    for path in missing:
        path.unlink()
    assert export_tiles(large.url, site, lambda done, total: None).written == 3
    for path, inode in files_before.items():
        assert path.stat().st_ino == inode or path in missing
        assert path.read_bytes() == files[path.relative_to(site).as_posix()]


def test_a_damaged_log_is_one_sentence_over_http_that_is_logged_once(database: str):
    sign(database, store(database, [entry(index) for index in range(300)]))
    with open_pool(database) as pool, served(create_app(database, pool)) as port:
        for damage, path, sentence in [
            (
                TOO_LONG,
                "/tile/entries/001.p/44",
                b"what is stored for tile/entries/001.p/44 is none of it",
            ),
            ("DELETE FROM ledger.events WHERE notification_id = 300", "/tile/0/001.p/44", b"43 events from leaf 256"),
            (GARBAGE, "/checkpoint", b"the newest checkpoint in the database"),
        ]:
            with psycopg.connect(database) as connection:
                connection.execute("SET session_replication_role = replica")
                connection.execute(damage.encode())
            with capture_logs() as logs:
                answers = [ask(port, path) for _ in range(3)]
            for answer in answers:
                assert (answer.status, answer.headers["cache-control"]) == (500, "no-store")
                assert answer.body.startswith(sentence)
                assert answer.body.endswith(b": run `promise-ledger verify`\n")
            assert [each["error"].encode() for each in logs] == [answers[0].body.strip()]
        assert ask(port, "/tile/0/000").status == 200


def test_a_log_that_goes_on_as_another_one_is_served_as_it_is_now(database: str):
    """As after `recover anew`, which the read side need not be stopped for."""
    store(database, [entry(index) for index in range(300)])
    others = [b"another", *(entry(index) for index in range(1, 300))]
    with open_pool(database) as pool, served(create_app(database, pool)) as port:
        assert ask(port, "/tile/1/000.p/1").body != root(others[:256])
        with psycopg.connect(database) as connection:
            connection.execute("SET session_replication_role = replica")
            for table in ("events", "tiles", "head"):
                connection.execute(SQL("DELETE FROM ledger.{}").format(Identifier(table)))
        store(database, others)
        with psycopg.connect(database) as connection:
            connection.execute(QUERIES["rename_log"], {"origin": "log.example/2"})
        assert ask(port, "/tile/1/000.p/1").body == root(others[:256])


def test_a_log_that_grows_is_served_at_once_and_under_its_signed_checkpoint(database: str, data_dir: Path):
    log = Log(database, data_dir)
    with open_pool(database) as pool, served(create_app(database, pool)) as port:
        assert ask(port, "/checkpoint").status == 404
        assert ask(port, "/tile/0/000.p/1").status == 404
        ledger = log.open()
        told(ledger, *(make(number) for number in range(200)))
        told(ledger, *(make(number) for number in range(200, 260)))
        log.close()
        checkpoint, _ = open_checkpoint(ask(port, "/checkpoint").body, Verifier.parse(log.vkey))
        states = log.states()
        assert (checkpoint.size, checkpoint.root) == (260, root(states))
        assert parse_bundle(ask(port, "/tile/entries/001.p/4").body, 4) == states[256:]
        node = node_reader(260, cache(lambda tile: ask(port, f"/{tile_path(*tile)}").body))
        for index, state in enumerate(states):
            proof = inclusion_proof(index, 260, node)
            verify_inclusion(leaf_hash(state), index, 260, proof, checkpoint.root)
