"""The options of commands: their types, their groups in the help, and what they share."""
