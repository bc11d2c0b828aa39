"""The console: pages for auditors over the read side, and the proof of each event (docs/console.md)."""
