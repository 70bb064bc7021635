"""Limits a process sets on itself, once, before it reads untrusted input.

    network      an empty network namespace (Linux, where the system permits it)
    rights       root becomes nobody; no program it starts can gain rights
    files        no further descriptor can be opened, neither a file nor a socket
    processes    neither a thread nor a process can be started
    memory, processor time, bytes written: by rlimit

Each limit is a function of its own; none can be lifted again. The limit on files also covers the network: where no
empty network is permitted, a process that can open no descriptor cannot reach the real one either.

Run as a script, `python -I jail.py COMMAND...` gives the command an empty network. It imports nothing else of this
package, so it starts in 20 ms and works where the package cannot be imported.
"""

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

NO_NEW_PRIVILEGES = 38  # prctl(2)
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # unshare(2)
NOBODY = 65534


def without_network() -> bool:
    """Move this process into an empty network; False where the system does not permit it.

    Call it before any thread is started. Root needs nothing else. Any other user first becomes the only user of a new
    user namespace, which keeps the ownership of files.
    """
    if sys.platform != "linux":
        return False
    library, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if library.unshare(NEW_NETWORK) == 0:
        return True
    if library.unshare(NEW_USER | NEW_NETWORK) != 0:
        return False
    with contextlib.suppress(OSError):  # an unmapped user works as well
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def without_rights() -> bool:
    """Become nobody when this is root, and let no started program gain rights; False when that failed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    except OSError:  # a container may forbid changing the user
        return False
    return True


def without_new_files() -> None:
    """Refuse every further descriptor: open(), socket() and dup() fail from here on."""
    highest = 2
    for number in range(3, 256):
        with contextlib.suppress(OSError):
            os.fstat(number)
            highest = number
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, highest + 1))


def without_new_processes() -> None:
    """Refuse every further process and thread (root is exempt by the system, see `without_rights`)."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def set_limits(*, memory: int, seconds: int, written: int) -> None:
    """Limit memory (bytes beyond those in use), processor time and file size; write no core dump."""
    if sys.platform == "linux":  # elsewhere the limit is not enforced and the use not reported
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, used + memory)
    _lower(resource.RLIMIT_CPU, seconds)
    _lower(resource.RLIMIT_FSIZE, written)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(name: int, limit: int) -> None:
    """Lower a limit, never above its hard limit: raising that one is not permitted."""
    hard = resource.getrlimit(name)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(name, (limit, limit))


if __name__ == "__main__":
    without_network()
    os.execvp(sys.argv[1], sys.argv[1:])
