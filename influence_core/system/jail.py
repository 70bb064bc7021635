"""How is a process kept from doing harm with what it reads? Limits that it sets upon itself, once, before it reads.

    network      a network of its own with nothing in it (Linux, where the system permits it)
    rights       root becomes nobody; no program it starts can gain rights
    files        no more files can be opened than are open: with all numbers in use, neither a file nor a socket
    processes    neither a thread nor a process can be started
    memory, processor time, bytes written: by rlimit

Each is asked for by name and none can be taken back. The network and the open files guard one another: where no
network of its own is to be had, a process that can open no descriptor cannot reach the real one either.

Run as a script, `python -I jail.py COMMAND...` gives the command an empty network; it knows nothing else of this
package, so that it starts in 20 ms and can be used where the package cannot be imported.
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

    Must come before any thread is started. Root needs no more; anybody else first becomes the only user of a
    namespace of its own, which keeps the ownership of files as it was.
    """
    if sys.platform != "linux":
        return False
    library, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if library.unshare(NEW_NETWORK) == 0:
        return True
    if library.unshare(NEW_USER | NEW_NETWORK) != 0:
        return False
    with contextlib.suppress(OSError):  # a process without a name in its namespace works as well
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def without_rights() -> bool:
    """Become nobody when this is root, and stay without rights whatever is started; False when that failed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getuid() != 0:
        return True
    try:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    except OSError:  # a container may hold its root to being root
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


def limited(*, memory: int | None = None, seconds: int, written: int) -> None:
    """Limit memory (bytes on top of what is in use), processor time, the size of a file; leave no core dump."""
    if memory is not None and sys.platform == "linux":  # elsewhere it is not enforced, and its use not told
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, used + memory)
    _lower(resource.RLIMIT_CPU, seconds)
    _lower(resource.RLIMIT_FSIZE, written)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(name: int, limit: int) -> None:
    """Never above what this process was given: raising a hard limit is not permitted, and not wanted."""
    hard = resource.getrlimit(name)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(name, (limit, limit))


if __name__ == "__main__":
    without_network()
    os.execvp(sys.argv[1], sys.argv[1:])
