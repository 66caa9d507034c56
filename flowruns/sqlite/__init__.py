"""SQLite databases as files, locks and threads: connections, group commit, migrations. Knows nothing of runs."""
