# SPDX-License-Identifier: LGPL-2.1-or-later
"""The programs of Debian bookworm for s390x, made by debootstrap and kept outside the checkout.

    userland = Userland.get(PACKAGES)   # minutes when it has to be made, else nothing
    userland.root                       # the folder, to work in with Userland.chroot()

It is made and entered as the vm suite's image is, but for a disk and a kernel. It is kept under a key of its packages and
this file; one that was not used for a week is removed. Needs root, debootstrap, and emulation.py.
"""

import fcntl
import hashlib
import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent / "vm"))

from image import KEPT, Image, remove_tree  # noqa: E402 (needs the path)

SUITE = "bookworm"


def key(packages):
    """Of everything that decides what is in the userland."""
    return hashlib.sha256("\0".join([*packages, Path(__file__).read_text(encoding="utf-8")]).encode()).hexdigest()[:16]


class Userland(Image):
    def __init__(self, folder, packages):
        super().__init__(folder)
        self.packages = packages

    @classmethod
    def get(cls, packages):
        """The current one, made if it is not there."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache", "apmigd-s390x")
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one maker at a time
            userland = cls(cache / key(packages), packages)
            if not (userland.folder / "complete").exists():
                userland._make()
            (userland.folder / "complete").touch()
            for mark in cache.glob("*/complete"):
                if mark.stat().st_mtime < time.time() - KEPT:
                    remove_tree(mark.parent)
        return userland

    # The steps of _make():

    def _bootstrap(self):
        self._do("debootstrap", "--variant=minbase", "--arch=s390x", "--foreign", SUITE, self.root)
        self._do(*self.chroot("/debootstrap/debootstrap", "--second-stage"))
        no_start = self.root / "usr/sbin/policy-rc.d"
        no_start.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        no_start.chmod(0o755)

    def _install(self):
        self._do(*self.chroot("apt-get", "-q", "update"))
        self._do(*self.chroot("apt-get", "-q", "install", "-y", "--no-install-recommends",
                              "-o", "Dpkg::Options::=--force-unsafe-io", *self.packages))

    def _take_mtty(self):
        """There is no kernel for it."""

    def _finish(self):
        self._do(*self.chroot("sh", "-c", "apt-get clean; rm -rf /var/lib/apt/lists/*"))
