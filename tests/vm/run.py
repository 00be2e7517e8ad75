# SPDX-License-Identifier: LGPL-2.1-or-later
"""The vm suite: builds apmigd and two drivers, boots the machine, installs them there and runs the cases in it.

    run.py --build FOLDER --junit FILE [--shell COMMAND] [PYTEST ARGUMENT...]

What is built stays in FOLDER for the next time, and so do the last run's logs. Built is in the machine's own root file
system, but before it boots: a compiler is fast outside and slow inside. With --shell only COMMAND is run in the
machine, after installing. Needs root.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from image import ENVIRONMENT, Image, tail
from machine import Machine, MachineError

SOURCE = Path(__file__).resolve().parents[2]
LIMIT = 870  # seconds for all that follows the image and the build
NOTHING_RAN = 5  # pytest's status

BUILD = """
    exec 2>&1
    [ -f /build/project/build.ninja ] ||
        meson setup /build/project /source -Dwerror=true -Dfailpoints=true -Dtests=false
    ninja -C /build/project
    mkdir -p /build/modules
    cp -ru /source/tests/vm/vfio_ap_standin /usr/src/mtty /build/modules/
    for module in vfio_ap_standin mtty; do
        make -C /lib/modules/*/build M=/build/modules/$module modules
    done
"""
# As the README tells a host's administrator.
INSTALL = """
    meson install -C /build/project --no-rebuild --quiet
    systemd-sysusers 2>/dev/null
    systemctl daemon-reload
    journalctl --update-catalog
    systemctl reload dbus
    systemctl --quiet enable --now apmigd
    systemctl reload libvirtd
    modprobe -a mdev vfio_iommu_type1
    insmod /build/modules/vfio_ap_standin/vfio_ap_standin.ko
    insmod /build/modules/mtty/mtty.ko
"""
COLLECT = """
    cd /build/results
    journalctl -b all -o short-monotonic --no-hostname >journal 2>&1
    dmesg >dmesg
"""


def build(image, folder):
    """Builds in the root file system; the files stay in @folder."""
    begin = time.monotonic()
    command = image.chroot("sh", "-ec", BUILD, binds=[(SOURCE, "/source"), (folder, "/build")])
    with open(folder / "build.log", "wb") as log:
        status = subprocess.run(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, check=False).returncode
    if status:
        sys.stderr.write(tail(folder / "build.log"))
        raise MachineError(f"the build failed with status {status}")
    print(f"vm: built in {time.monotonic() - begin:.0f} s", flush=True)


class Suite:
    """@end: when all of it must be over."""

    def __init__(self, machine, pytest_arguments, end):
        self.machine, self.pytest_arguments, self.end = machine, pytest_arguments, end

    def left(self):
        return max(1, int(self.end - time.monotonic()))

    def shell(self, script, timeout=LIMIT):
        return self.machine.run("sh", "-ec", script, timeout=min(timeout, self.left()))

    def session(self, name, marks):
        """Runs the cases with @marks. Returns pytest's status."""
        return self.machine.run(
            "/usr/bin/python3", "-m", "pytest", "-c", "/source/tests/vm/cases/pytest.ini", "-m", marks,
            f"--junitxml=/build/results/{name}.xml", *self.pytest_arguments, "/source/tests/vm/cases",
            timeout=self.left())

    def run(self):
        """Returns 0, or the status of a session that failed."""
        statuses = [self.session("first", "not before_reboot and not after_reboot"),
                    self.session("before-reboot", "before_reboot")]
        if statuses[-1] != NOTHING_RAN:
            self.machine.reboot()
            statuses.append(self.session("after-reboot", "after_reboot"))
        return next((status for status in statuses if status not in (0, NOTHING_RAN)), 0)


def merge(results, junit):
    """One JUnit file of all sessions."""
    merged = ElementTree.Element("testsuites")
    for path in sorted(results.glob("*.xml")):
        merged.extend(ElementTree.parse(path).getroot())
    ElementTree.ElementTree(merged).write(junit, encoding="utf-8", xml_declaration=True)


def run_in_machine(image, arguments):
    begin = time.monotonic()
    with Machine(image, SOURCE, arguments.build) as machine:
        booted = time.monotonic()
        suite = Suite(machine, arguments.pytest, begin + LIMIT)
        status = suite.shell(INSTALL, 180)
        if status:
            raise MachineError(f"installing failed with status {status}")
        print(f"vm: booted in {booted - begin:.0f} s, installed in {time.monotonic() - booted:.0f} s", flush=True)
        try:
            return suite.shell(arguments.shell) if arguments.shell else suite.run()
        finally:
            machine.run("sh", "-c", COLLECT, timeout=60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--junit", type=Path, required=True)
    parser.add_argument("--shell")
    arguments, arguments.pytest = parser.parse_known_args()
    arguments.pytest += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    arguments.build = arguments.build.resolve()
    arguments.build.mkdir(parents=True, exist_ok=True)
    results = arguments.build / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        image = Image.get()
        build(image, arguments.build)
        status = run_in_machine(image, arguments)
    except (MachineError, subprocess.CalledProcessError) as error:
        print(f"vm: {error}; the machine's console said:", file=sys.stderr)
        if (arguments.build / "console.log").exists():
            sys.stderr.write(tail(arguments.build / "console.log"))
        status = 1
    merge(results, arguments.junit)
    if status:
        print(f"vm: logs are in {results}", file=sys.stderr)
    sys.exit(status)


main()
