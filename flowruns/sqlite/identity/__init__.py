"""Which file is which: WALs of other files, and databases that are overwritten or replaced."""
