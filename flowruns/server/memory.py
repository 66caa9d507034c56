"""The memory of a process that serves: freed documents go back to the system."""

import sys

from flowruns.http.responses import PIECE_BYTES

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of `mallopt(3)`


def map_large_blocks() -> None:
    """Makes glibc map each block by itself from half a piece of a response on, as its rest waits for a slow client, and
    so return it when it is freed. Its own limit rises to 32 MiB with the sizes that are freed: after 8 different pages
    of 16 MiB, 170 MiB stayed, and with a limit of 1 MiB 140 MiB after 500 clients that did not read. The heap keeps
    2 MiB for the next small page: mapping each anew takes as long as the rest of its request. For the whole process.
    """
    if sys.platform != "linux":
        return
    import ctypes  # takes 4 ms

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # which musl does not have
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, PIECE_BYTES // 2)
        mallopt(_M_TRIM_THRESHOLD, 8 * PIECE_BYTES)
