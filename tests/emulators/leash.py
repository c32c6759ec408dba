"""Become the command given after a process id; the kernel kills it when that process ends, even by SIGKILL (on Linux).

Run as a file, so that it starts in milliseconds. ``PR_SET_PDEATHSIG`` outlives ``exec``; it asks about the thread that
forked, so emulators are started from a thread that lasts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that wanted this command is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
