"""The command line: does one thing to real processes, and prints one line on what came of it."""

import argparse
import random
import traceback
from importlib import import_module
from typing import NamedTuple

from tests.faults import Impossible, progress


class Trial(NamedTuple):
    """Where the function is that does it, `(rounds, seed) -> summary`, which raises AssertionError if a promise was
    broken.
    """

    module: str
    function: str
    rounds: int  # unless told otherwise
    help: str


TRIALS = {
    "kill": Trial("crashes", "kill", 50, "kill -9 at random moments while clients write"),
    "stop": Trial("crashes", "stop", 10, "SIGTERM and SIGINT while clients write"),
    "full": Trial("databases", "full", 5, "the disk is full, then has room again"),
    "locked": Trial("databases", "locked", 5, "another process holds the lock of the database"),
    "hostile": Trial("hostile", "run", 20_000, "requests that no honest client sends; a round is one"),
    "sidecar": Trial("sidecars", "orphans", 20, "kill -9 of the program that has flowruns as a sidecar"),
    "stream": Trial("streams", "run", 10_000, "followers of changes leave and come back; a round is one change"),
    "soak": Trial("soak", "run", 200, "a long time under mixed load; a round is 1,000 requests"),
}


def main() -> int:
    options = arguments()
    trial = TRIALS[options.trial]
    function = getattr(import_module(f"tests.faults.{trial.module}"), trial.function)
    try:
        summary = function(trial.rounds if options.rounds is None else options.rounds, options.seed)
    except AssertionError as error:
        said = " ".join(str(error).split()) or f"not so: {traceback.extract_tb(error.__traceback__)[-1].line}"
        progress("")
        print(f"{options.trial}: BROKEN: {said} (--seed {options.seed})")
        return 1
    except Impossible as error:
        print(f"{options.trial}: not tried: {error}")
        return 2
    progress("")
    print(summary)
    return 0


def arguments() -> argparse.Namespace:
    width = max(map(len, TRIALS))
    told = "\n".join(f"  {name:{width}}  {one.help} (rounds: {one.rounds:,})" for name, one in TRIALS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=f"What flowruns promises under faults, tried on real processes:\n{told}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--rounds", type=int, help="how often; each has a usual number")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of what is left to chance")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
