"""SQLite as a file, a lock and threads: connections, group commit, schema. It knows no runs."""
