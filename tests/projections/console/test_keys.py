"""The console opens texts while the key-encryption key is replaced, and after it, in the process that began before."""

from deploy.serve_projections import _console
from ledger.app import Ledger
from ledger.erasure.rotation import rotate
from ledger.storage import keys
from projections.web.tiles import open_pool
from tests.projections.world import World


def test_pages_show_words_while_the_key_is_replaced_and_after_it(world: World) -> None:
    world.make(1)
    world.catch_up()
    with open_pool(world.url, "console") as pool:
        console = _console(world.secrets, world.url, pool, None)
        keys.replace_kek(world.secrets)  # and nothing is wrapped anew yet
        assert "The router 1 comes." in console.stream("promise:P-1", {}).html
        with Ledger.open(world.settings, clock=lambda: world.now) as ledger:
            rotate(ledger, keys.load(world.settings.keys_dir), clock=lambda: world.now)
        assert not (world.settings.keys_dir / "kek.old").exists()
        assert "The router 1 comes." in console.stream("promise:P-1", {}).html
