# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs for s390x on another machine: binfmt_misc hands each to QEMU's user-mode emulation.

    with emulation():
        subprocess.run(userland.chroot("uname", "-m"))

Needs root, qemu-user-static, and to be in a mount namespace of its own.
"""

import contextlib
import os
import subprocess
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# ":NAME:M::MAGIC:MASK:INTERPRETER:FLAGS". Its flag F opens the interpreter at once: in a root file system of another
# architecture it would not be found.
DEBIANS_ENTRY = Path("/usr/lib/binfmt.d/qemu-s390x.conf")
NAME = "apmigd-s390x"


def unregister_dead():
    """What runs that were killed have left behind."""
    for entry in BINFMT.glob(f"{NAME}-*"):
        if not Path("/proc", entry.name.rpartition("-")[2]).exists():
            entry.write_text("-1", encoding="ascii")


@contextlib.contextmanager
def emulation():
    """The kernel has one list of such entries, for all namespaces: this one is of this process, beside any others."""
    entry = BINFMT / f"{NAME}-{os.getpid()}"
    fields = DEBIANS_ENTRY.read_text(encoding="ascii").strip().split(":")
    assert "F" in fields[-1], f"{DEBIANS_ENTRY} has no flag F"
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    unregister_dead()
    (BINFMT / "register").write_text(":".join(["", entry.name, *fields[2:]]), encoding="ascii")
    try:
        yield
    finally:
        entry.write_text("-1", encoding="ascii")
