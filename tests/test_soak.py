"""A short time under mixed load; `python -m tests.faults soak` takes minutes."""

import random
from pathlib import Path

import pytest

from tests.faults import soak


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what a process holds is looked up in Linux's /proc")
def test_mixed_load_leaves_nothing_behind() -> None:
    print(soak.run(4, random.randrange(1 << 32)))
