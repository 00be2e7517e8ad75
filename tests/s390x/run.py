# SPDX-License-Identifier: LGPL-2.1-or-later
"""The s390x suite: builds and tests apmigd for s390x, big-endian as its hosts are, under user-mode emulation.

    run.py --build FOLDER --packages NAMES build
    run.py --build FOLDER --packages NAMES unit | bus
    run.py --build FOLDER --packages NAMES shell COMMAND

NAMES are the packages that the userland has, by white space. What is built stays in FOLDER for the next time; JUnit
files and logs are in FOLDER/results. With shell COMMAND is run where the tests run: the checkout is /source, FOLDER is
/build. Needs root; but for FOLDER and the userland nothing is left when it ends, however it ends.
"""

import argparse
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from emulation import emulation
from userland import Userland
from image import ENVIRONMENT, tail

SOURCE = Path(__file__).resolve().parents[2]
MARK = "APMIGD_S390X_NAMESPACE"
SLOWER = 10  # at least, than this machine's own programs

# What the tests leave in these is not to stay in the userland.
VOLATILE = """
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /run
"""
# Emulated, the compiler would need hours. This machine's kernel runs this machine's programs in the userland as well, once
# their libraries are there: so meson and ninja find all that is s390x's, and call a compiler that is not emulated.
TOOLS = "/opt/tools"
LIBRARIES = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"
COMPILER = [("/usr", TOOLS), ("/lib64", "/lib64"), (LIBRARIES, LIBRARIES)]
BUILD = f"""
    exec 2>&1
    export CC={TOOLS}/bin/s390x-linux-gnu-gcc AR={TOOLS}/bin/s390x-linux-gnu-ar
    [ -f /build/project/build.ninja ] ||
        meson setup /build/project /source -Dwerror=true -Dfailpoints=true
    ninja -C /build/project
"""
UNIT = f"""
    meson test -C /build/project --suite unit --no-rebuild --print-errorlogs -t {SLOWER} --num-processes "$(nproc)" ||
        status=$?
    cp /build/project/meson-logs/testlog.junit.xml /build/results/unit.xml
    exit "${{status:-0}}"
"""
BUS = """
    APMIGD_BUILD=/build/project python3 -m pytest -p no:cacheprovider -o junit_family=xunit1 -q -ra \
        -n "$(nproc)" --junitxml /build/results/bus.xml /source/tests/bus
"""


def run(userland, folder, script, log=None, binds=()):
    """Runs the shell's @script in the userland, which has @binds too. Returns its status."""
    binds = [(SOURCE, "/source"), (folder, "/build"), *binds]
    command = userland.chroot("sh", "-ec", VOLATILE + script, binds=binds)
    environment = {**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1", "APMIGD_TESTS_SLOWER": str(SLOWER),
                   "PYTEST_ADDOPTS": os.environ.get("PYTEST_ADDOPTS", "")}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, check=False).returncode


def build(userland, folder):
    begin = time.monotonic()
    path = folder / "results" / "build.log"
    with open(path, "wb") as log:
        status = run(userland, folder, BUILD, log, COMPILER)
    if status:
        sys.stderr.write(tail(path))
    else:
        print(f"s390x: built in {time.monotonic() - begin:.0f} s", flush=True)
    return status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--packages", required=True)
    parser.add_argument("what", choices=["build", "unit", "bus", "shell"])
    parser.add_argument("command", nargs="?")
    arguments = parser.parse_args()
    if MARK not in os.environ:
        os.environ[MARK] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = arguments.build.resolve()
    (folder / "results").mkdir(parents=True, exist_ok=True)
    with emulation():
        userland = Userland.get(sorted(set(arguments.packages.split())))
        if arguments.what == "build":
            sys.exit(build(userland, folder))
        script = {"unit": UNIT, "bus": BUS, "shell": arguments.command}[arguments.what]
        sys.exit(run(userland, folder, script))


main()
