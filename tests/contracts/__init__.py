"""What others rely on, kept as files: the message contract, and entries as they were stored.

`python -m tests.contracts schemas` rewrites schema.json and asyncapi.json, on purpose: read the difference in review.
`python -m tests.contracts entries` adds entries of event topics that have none yet. It never changes a line that is
there: entries are stored for ever, so a line that no longer decodes to the same values is a broken promise, not an
outdated file.
"""
