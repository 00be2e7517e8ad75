# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine's root file system and disk: Debian trixie, made by debootstrap, kept outside the checkout.

    image = Image.get()         # minutes when it has to be made, else nothing
    image.root                  # as a folder, to build in with Image.chroot()
    image.disk, image.kernel, image.initrd

It is kept under a key of all that goes into it (this folder's image/ and this file), so a change makes a new one; one
that was not used for a week is removed. Needs root, debootstrap and e2fsprogs; where packages come from is
debootstrap's affair.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = "trixie"
DISK_SIZE = "6G"  # sparse
# Not needed, and slow to start or waiting for what never comes.
MASKED = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
          "e2scrub_reap.service", "fstrim.timer", "getty@tty1.service", "serial-getty@ttyS0.service",
          "systemd-networkd-wait-online.service", "libvirt-guests.service", "virtlockd.service", "virtlockd.socket"]
KEPT = 7 * 86400  # seconds for which an image that nobody asks for is kept: other checkouts may have other keys
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}

# Arguments: the root, pairs of folders to bind, --, the command.
ENTER = """
    mount --make-rprivate /
    mount --bind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount --rbind /dev dev
    shift
    while [ "$1" != -- ]; do
        mount --bind "$1" "$2"
        shift 2
    done
    shift
    exec chroot . "$@"
"""


def cache_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache", "apmigd-vm")


def key():
    """Of everything that decides what is in the image."""
    digest = hashlib.sha256()
    inputs = [Path(__file__).resolve(), *(path for path in (HERE / "image").rglob("*") if path.is_file())]
    for path in sorted(inputs):
        digest.update(f"{path.relative_to(HERE)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def packages():
    lines = (HERE / "image" / "packages").read_text(encoding="utf-8").splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


class Image:
    def __init__(self, folder):
        self.folder = folder
        self.root, self.disk = folder / "root", folder / "disk.img"
        self.kernel, self.initrd = folder / "vmlinuz", folder / "initrd"

    @classmethod
    def get(cls):
        """The current image, made if it is not there."""
        cache, name = cache_folder(), key()
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one maker at a time
            image = cls(cache / name)
            if not (image.folder / "complete").exists():
                image._make()
            (image.folder / "complete").touch()
            for mark in cache.glob("*/complete"):
                if mark.stat().st_mtime < time.time() - KEPT:
                    remove_tree(mark.parent)
        return image

    def _make(self):
        begin = time.monotonic()
        print(f"making the machine's image in {self.folder}: some minutes, once", flush=True)
        remove_tree(self.folder)
        self.folder.mkdir()
        with open(self.folder / "log", "wb") as log:
            try:
                self._log = log
                self._bootstrap()
                self._install()
                self._take_mtty()
                self._finish()
            except BaseException:
                log.flush()
                sys.stderr.write(tail(self.folder / "log"))
                raise
        print(f"made in {time.monotonic() - begin:.0f} s", flush=True)

    def _do(self, *argv):
        subprocess.run(list(map(str, argv)), check=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=self._log,
                       stderr=subprocess.STDOUT)

    def chroot(self, *argv, binds=()):
        """The command line that runs @argv in the root file system, with what of @binds (OUTER, INNER) is wanted in
        it, in mount and PID namespaces of its own: nothing of it outlives the command."""
        mounts = []
        for outer, inner in binds:
            Path(f"{self.root}{inner}").mkdir(exist_ok=True)
            mounts += [str(outer), f".{inner}"]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", ENTER, "sh", str(self.root),
                *mounts, "--", *map(str, argv)]

    def _bootstrap(self):
        # Services are not to be configured by debootstrap: what it does not start yet, they talk to.
        self._do("debootstrap", "--variant=minbase", SUITE, self.root)
        shutil.copytree(HERE / "image" / "files", self.root, dirs_exist_ok=True, symlinks=True)
        no_start = self.root / "usr/sbin/policy-rc.d"
        no_start.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        no_start.chmod(0o755)

    def _install(self):
        self._do(*self.chroot("apt-get", "-q", "update"))
        self._do(*self.chroot("apt-get", "-q", "install", "-y", "--no-install-recommends",
                              "-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Options::=--force-unsafe-io",
                              *packages()))

    def _take_mtty(self):
        """The kernel's sample driver, from the distribution's sources of the same kernel."""
        self._do(*self.chroot("sh", "-ec", """
            cd /tmp
            package=$(apt-cache depends linux-source | grep -o 'linux-source-[0-9.]*' | head -n 1)
            apt-get -q download "$package"
            dpkg-deb --fsys-tarfile "$package"_*.deb | tar -xf - --wildcards -O './usr/src/linux-source-*.tar.xz' |
                tar -xJf - --wildcards '*/samples/vfio-mdev/mtty.c'
            mkdir -p /usr/src/mtty
            mv linux-source-*/samples/vfio-mdev/mtty.c /usr/src/mtty/
            echo 'obj-m := mtty.o' >/usr/src/mtty/Makefile
            rm -rf linux-source-*
        """))

    def _finish(self):
        root = self.root
        (root / "usr/sbin/policy-rc.d").unlink()
        (root / "etc/libvirt/qemu/networks/autostart/default.xml").unlink(missing_ok=True)
        for folder in ("source", "build"):
            (root / folder).mkdir(exist_ok=True)
        self._do(*self.chroot("systemctl", "mask", *MASKED))
        self._do(*self.chroot("systemctl", "enable", "test-agent.service"))
        self._do(*self.chroot("sh", "-c", "apt-get clean; rm -rf /var/lib/apt/lists/*"))
        (root / "etc/machine-id").write_text("", encoding="ascii")
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), self.kernel)
        shutil.copy(next((root / "boot").glob("initrd.img-*")), self.initrd)
        self._do("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", root, self.disk, DISK_SIZE)


def remove_tree(folder):
    if folder.exists():
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


def tail(path, size=4000):
    return path.read_text(encoding="utf-8", errors="replace")[-size:]


if __name__ == "__main__":
    print(Image.get().folder)
