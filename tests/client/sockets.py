"""The sockets of this process."""

import os
from pathlib import Path

import pytest

_DESCRIPTORS = Path("/proc/self/fd")

needs_proc = pytest.mark.skipif(not _DESCRIPTORS.exists(), reason="only Linux lists the sockets of a process")


def sockets() -> int:
    """The number of open sockets."""
    count = 0
    for descriptor in _DESCRIPTORS.iterdir():
        try:
            count += os.readlink(descriptor).startswith("socket:")
        except FileNotFoundError:  # closed meanwhile, or the list itself
            continue
    return count
