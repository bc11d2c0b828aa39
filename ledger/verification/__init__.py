"""`log.verify` checks the whole log. What its checking processes import stays light, so nothing is imported here."""
