"""The shapes of the API and their rules, as pure functions: no I/O, no clock, no SQL."""
