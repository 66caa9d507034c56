"""Runs the command line: `python -m flowruns`."""

import sys

from flowruns.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
