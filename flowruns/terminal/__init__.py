"""What people read in a terminal: output, progress, tables, colours."""
