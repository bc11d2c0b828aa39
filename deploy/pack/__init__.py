"""Evidence packs: a folder that proves its contents to whoever has the log's key and Python, and nothing of ours.

`selecting` finds the events, `contents` makes the files, `publishing` signs and writes them, `verify_pack` checks them:
the same file that is put into each pack, whose functions also write what it makes again.
"""
