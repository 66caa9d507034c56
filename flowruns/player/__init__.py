"""Plays runs from scripts (`flowruns/docs/scripts.md`): a client that behaves as an agent does."""
