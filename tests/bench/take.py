# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a lock takes where no guest is in its way, against the least that its promise costs: a file that is on the disk
before an answer goes over the bus.

    take.py [ROUNDS]
"""

import os

import common
from common import rig


def write_durably(folder):
    """As a lock is written."""
    new = folder / "bench.new"
    with open(new, "wb") as file:
        file.write(b"x" * 400)
        file.flush()
        os.fsync(file.fileno())
    new.rename(folder / "bench.json")
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def main():
    with common.private_bus() as bus:
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, f"scripted:{bus.folder}/hypervisor")
        folder = bus.folder / "disk"
        folder.mkdir()
        with common.started(daemon):
            manager = common.Manager(bus)

            def least():
                return common.timed(lambda: (write_durably(folder), manager.ask()))

            def take():
                path = []
                seconds = common.timed(lambda: path.append(manager.take()))
                manager.release(path[0])
                return seconds

            common.compare("A lock on an idle host", {"a durable write and a call": least, "TakeLock until held": take},
                           common.rounds(50))


main()
