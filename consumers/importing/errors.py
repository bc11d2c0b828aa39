"""What stops an import as a whole, and what stops one row of it."""


class ImportProblem(Exception):
    """The import cannot begin or go on: file, mapping, key, progress file or queue. One sentence that names which."""


class BadRow(Exception):
    """No command can be made of a row; the message says why, without repeating a value of it."""
