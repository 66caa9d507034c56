"""Power cuts while clients write: only what was flushed to the disk is left.

A library between flowruns and the system copies each file as its flush leaves it, so a cut is a kill, and the copies in
place of the files.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import Impossible, progress
from tests.faults.clients import Findings, acknowledged, at_work, crew
from tests.faults.crashes import NAME, WRITERS
from tests.processes import command_with, serving

_WORK_SECONDS = 0.8  # until the cut comes, at the most
_WAL_BYTES = 512 * 1024  # so that it begins anew many times, and a copy takes little time

# A flush ends when the copy that it began with is in its place: what is written meanwhile is not part of it.
_LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int flushed(int handle, const char *name) {
    int (*flush)(int) = dlsym(RTLD_NEXT, name);
    char link[64], path[PATH_MAX] = "", part[PATH_MAX], copy[PATH_MAX], buffer[65536];
    const char *from = getenv("FLUSHED_FROM"), *to = getenv("FLUSHED_TO");
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0 || strncmp(path, from, strlen(from)) || fstat(handle, &status) || !S_ISREG(status.st_mode))
        return flush(handle);
    snprintf(part, sizeof part, "%s/part", to);
    snprintf(copy, sizeof copy, "%s%s", to, strrchr(path, '/'));
    pthread_mutex_lock(&mutex);
    int target = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    off_t at = 0;
    while ((length = pread(handle, buffer, sizeof buffer, at)) > 0) {
        if (pwrite(target, buffer, length, at) != length) abort();
        at += length;
    }
    close(target);
    int result = flush(handle);
    if (!result && rename(part, copy)) abort();
    pthread_mutex_unlock(&mutex);
    return result;
}

int fsync(int handle) { return flushed(handle, "fsync"); }
int fdatasync(int handle) { return flushed(handle, "fdatasync"); }
"""


def cut(rounds: int, seed: int, *options: str) -> str:
    """In every round the power is cut at a random moment, and the server, with these *options*, started again."""
    writers, findings, chance = crew(WRITERS, seed), Findings(), random.Random(seed)
    command = command_with("flowruns.sqlite.pragmas", MAX_WAL_BYTES=_WAL_BYTES)
    with tempfile.TemporaryDirectory(prefix="flowruns-faults-") as name:
        folder, disk = Path(name) / "served", Path(name) / "disk"
        folder.mkdir()
        disk.mkdir()
        env = {"LD_PRELOAD": str(_library(Path(name))), "FLUSHED_FROM": str(folder), "FLUSHED_TO": str(disk)}
        for number in range(rounds + 1):
            progress(f"power: round {number} of {rounds}")
            with serving(folder, NAME, *options, env=env, command=command) as server:
                if number:
                    findings.check(server.url, folder / NAME, writers)
                if number < rounds:
                    with at_work(writers, server.url):
                        time.sleep(chance.uniform(0, _WORK_SECONDS))  # the cut comes at a random moment
                        server.process.kill()
                        server.process.wait()
            _restore(disk, folder, chance)
    return f"power: {rounds:,} cuts, {acknowledged(writers):,} acknowledged writes, {findings.summary()}"


def _restore(disk: Path, folder: Path, chance: random.Random) -> None:
    """Leaves in *folder* what is on the *disk*. Files that were never flushed may be there, as the system writes them
    some time later, but for the memory that connections share.
    """
    for file in folder.iterdir():
        flushed = disk / file.name
        if flushed.exists():
            shutil.copyfile(flushed, file)
        elif file.name.endswith("-shm") or chance.random() < 0.5:
            file.unlink()


def _library(folder: Path) -> Path:
    """The library, compiled in *folder*. Raises Impossible where that is not possible."""
    if not sys.platform.startswith("linux"):
        raise Impossible("the library that notices flushes is for Linux")
    source, library = folder / "flushed.c", folder / "flushed.so"
    source.write_text(_LIBRARY)
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise Impossible("there is no C compiler `cc`; install one, such as the package gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library
