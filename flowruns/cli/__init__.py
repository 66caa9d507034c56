"""The command line: argv and environment to settings and calls."""
