"""Fuzzing: hostile bytes for every door of tokenzip. `make fuzz MINUTES=n`; see README.md here."""
