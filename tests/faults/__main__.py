"""The command line: runs trials on real processes, and prints the result of each in one line."""

import argparse
import random
import traceback
from importlib import import_module
from typing import NamedTuple

from tests import faults
from tests.faults import Impossible, progress


class Trial(NamedTuple):
    """Where the function is that does it, `(rounds, seed) -> summary`, which raises AssertionError if a promise was
    broken.
    """

    module: str
    function: str
    rounds: int  # by default
    help: str


TRIALS = {
    "kill": Trial("crashes", "kill", 50, "kill -9 at random moments while clients write"),
    "stop": Trial("crashes", "stop", 10, "SIGTERM and SIGINT while clients write"),
    "power": Trial("power", "cut", 200, "power cuts at random moments while clients write"),
    "full": Trial("databases", "full", 5, "the disk is full, then has room again"),
    "locked": Trial("databases", "locked", 5, "another process holds the lock of the database"),
    "hostile": Trial("hostile", "run", 20_000, "malformed requests among correct ones; a round is one request"),
    "crowds": Trial("crowds", "run", 500, "clients that do not read, reset, or trickle; a round is one client of each"),
    "sidecar": Trial("sidecars", "orphans", 20, "kill -9 of a program whose sidecar is flowruns"),
    "stream": Trial("streams", "run", 10_000, "subscribers disconnect and resume; a round is one change"),
    "replica": Trial("replicas", "kill_file", 20, "kill -9 of flowruns and Litestream, and a restore from a folder"),
    "replica-s3": Trial("replicas", "kill_s3", 10, "the same, and a restore from S3"),
    "player": Trial("players", "run", 1_600, "runs are played from a script beside other writers; a round is one run"),
    "soak": Trial("soak", "run", 200, "a long time under mixed load; a round is 1,000 requests"),
}


def main() -> int:
    options = arguments()
    codes = [run(name, options.rounds, options.seed) for name in options.trials]
    return 1 if 1 in codes else max(codes)


def run(name: str, rounds: int | None, seed: int) -> int:
    """Runs a trial. Returns the exit code: 1 if a promise was broken, 2 if the trial is impossible here."""
    trial = TRIALS[name]
    function = getattr(import_module(f"tests.faults.{trial.module}"), trial.function)
    try:
        summary = function(trial.rounds if rounds is None else rounds, seed)
    except AssertionError as error:
        reason = " ".join(str(error).split()) or f"failed: {traceback.extract_tb(error.__traceback__)[-1].line}"
        progress("")
        print(f"{name}: BROKEN: {reason} (--seed {seed})")
        return 1
    except Impossible as error:
        print(f"{name}: skipped: {error}")
        return 2
    progress("")
    print(summary, flush=True)
    return 0


def arguments() -> argparse.Namespace:
    width = max(map(len, TRIALS))
    trials = "\n".join(
        f"  {name:{width}}  {trial.help} (default rounds: {trial.rounds:,})" for name, trial in TRIALS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=f"Checks the promises of flowruns under faults, on real processes:\n{trials}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trials", nargs="+", choices=TRIALS, metavar="TRIAL")
    parser.add_argument("--rounds", type=int, help="how often; each trial has a default")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the random choices")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least 1")
    return options


if __name__ == "__main__":
    faults.durations_count = True
    raise SystemExit(main())
