# SPDX-License-Identifier: LGPL-2.1-or-later
"""The vm suite: builds apmigd and two drivers, boots the machine, installs them there and runs the cases in it.

    run.py --build FOLDER --junit FILE [--limit SECONDS] [--machine NAME] [--thorough] [--shell COMMAND]
        [PYTEST ARGUMENT...]

The cases are shared out between two machines that run at the same time, as one alone keeps no more than one processor
busy; --machine names the only one to run. With --shell only COMMAND is run in it, after installing. The cases get those
variables of the environment whose name begins with APMIGD_.

What is built stays in FOLDER for the next time, and so do the last run's logs. Built is in the machine's own root file
system, but before it boots: a compiler is fast outside and slow inside. Needs root.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree

from image import ENVIRONMENT, Image, tail
from machine import Machine, MachineError, reap_leftovers

SOURCE = Path(__file__).resolve().parents[2]
LIMIT = 2700  # seconds for all that follows the image and the build, unless told otherwise: a third of it is usual
PATIENCE = 3  # inside, everything takes so much longer than outside
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
    cd {results}
    journalctl -b all -o short-monotonic --no-hostname >journal 2>&1
    dmesg >dmesg
"""
REBOOT = "reboot"
# What each machine does: sessions of pytest, by their marks, and reboots.
MACHINES = {
    "service": [("service", "(service or random) and not (before_reboot or after_reboot or last)"),
                ("last", "last"), ("before-reboot", "before_reboot"), REBOOT, ("after-reboot", "after_reboot")],
    "migration": [("migration", "not (service or random)"), ("last", "last")],
}


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


class Run:
    """One machine and what is done in it, until @end."""

    def __init__(self, name, image, arguments, end):
        self.name, self.image, self.arguments, self.end = name, image, arguments, end
        self.results, self.status = arguments.build / "results" / name, 1
        self.results.mkdir()
        self._machine = None
        self._inside = f"/build/results/{name}"

    def left(self):
        return max(1, int(self.end - time.monotonic()))

    def shell(self, machine, script, timeout=sys.maxsize, out=sys.stdout):
        return machine.run("sh", "-ec", script, timeout=min(timeout, self.left()), out=out)

    def session(self, machine, name, marks):
        """Returns pytest's status. What it prints is shown in one piece, as two machines may speak at once."""
        variables = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("APMIGD_")]
        marks += "" if self.arguments.thorough else " and not thorough"
        begin, log = time.monotonic(), self.results / f"{name}.log"
        with open(log, "w", encoding="utf-8") as out:
            status = machine.run(
                "env", f"APMIGD_PATIENCE={PATIENCE}", *variables, "/usr/bin/python3", "-m", "pytest", "-c", "/source/tests/vm/cases/pytest.ini", "-m",
                marks, f"--junitxml={self._inside}/{name}.xml", *self.arguments.pytest, "/source/tests/vm/cases",
                timeout=self.left(), out=out)
        if status != NOTHING_RAN:
            text = log.read_text(encoding="utf-8")
            print(f"vm: {self.name}/{name}, {time.monotonic() - begin:.0f} s\n{text}", flush=True)
        return 0 if status == NOTHING_RAN else status

    def _run(self):
        begin = time.monotonic()
        with Machine(self.image, SOURCE, self.arguments.build, self.results / "console") as machine:
            booted, self._machine = time.monotonic(), machine
            if self.shell(machine, INSTALL, 240):
                raise MachineError("installing failed")
            print(f"vm: {self.name} booted in {booted - begin:.0f} s, installed in {time.monotonic() - booted:.0f} s",
                  flush=True)
            try:
                if self.arguments.shell:
                    return self.shell(machine, self.arguments.shell)
                statuses = [machine.reboot() if session is REBOOT else self.session(machine, *session)
                            for session in MACHINES[self.name]]
                return next(filter(None, statuses), 0)
            finally:
                machine.run("sh", "-c", COLLECT.format(results=self._inside), timeout=60)

    def stop(self):
        """From another thread: what waits for the machine then fails."""
        if self._machine:
            self._machine.kill()

    def __call__(self):
        try:
            self.status = self._run()
        except (MachineError, OSError) as error:
            print(f"vm: {self.name}: {error}; the machine's console said:", file=sys.stderr)
            if (self.results / "console").exists():
                sys.stderr.write(tail(self.results / "console"))


def merge(results, junit):
    """One JUnit file of all sessions."""
    merged = ElementTree.Element("testsuites")
    for path in sorted(results.glob("*/*.xml")):
        merged.extend(ElementTree.parse(path).getroot())
    ElementTree.ElementTree(merged).write(junit, encoding="utf-8", xml_declaration=True)


def run_all(image, arguments):
    """Returns whether every machine did what it was to do."""
    reap_leftovers()
    end = time.monotonic() + arguments.limit
    runs = [Run(name, image, arguments, end) for name in MACHINES if arguments.machine in (None, name)]
    threads = [threading.Thread(target=run) for run in runs]
    signal.signal(signal.SIGTERM, lambda *_: [run.stop() for run in runs])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return not any(run.status for run in runs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--junit", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=LIMIT)
    parser.add_argument("--machine", choices=MACHINES)
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--shell")
    arguments, arguments.pytest = parser.parse_known_args()
    arguments.pytest += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    if arguments.shell:
        arguments.machine = arguments.machine or next(iter(MACHINES))
    arguments.build = arguments.build.resolve()
    arguments.build.mkdir(parents=True, exist_ok=True)
    results = arguments.build / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        image = Image.get()
        build(image, arguments.build)
        passed = run_all(image, arguments)
    except (MachineError, subprocess.CalledProcessError) as error:
        print(f"vm: {error}", file=sys.stderr)
        passed = False
    merge(results, arguments.junit)
    if not passed:
        print(f"vm: logs are in {results}", file=sys.stderr)
    sys.exit(0 if passed else 1)


main()
