"""The commands of `promise-ledger`, a module for each thing that one does with a ledger."""
