# SPDX-License-Identifier: LGPL-2.1-or-later
"""dbus-broker in the place of dbus-daemon, by its own launcher, which systemd starts: with the socket, and a journal to log to.

The launcher starts without them where it is handed a socket, and finds one of the journal's name: it gets a /run/systemd of its
own, in a mount namespace. It can start no unit then.
"""
import os
import pathlib
import re
import socket
import subprocess
import threading

START = """mkdir -p /run/systemd && mount --bind "$1/systemd" /run/systemd || exit
export LISTEN_PID=$$ LISTEN_FDS=1
exec dbus-broker-launch --scope system --config-file "$1/bus.conf" 3<&0 </dev/null"""


def copy_log(journal, log):
    """For as long as the process is there: whoever logs to a socket that nobody reads waits."""
    with open(log, "ab", buffering=0) as file:
        while entry := journal.recv(1 << 16):
            file.write(b"".join(re.findall(rb"^MESSAGE=(.*\n)", entry, re.M)))


def start(folder):
    """Returns the process; terminated, it ends the bus."""
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = pathlib.Path(folder) / "systemd" / "journal" / "socket"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    journal.bind(str(path))
    threading.Thread(target=copy_log, args=(journal, folder / "bus.log"), daemon=True).start()
    with socket.socket(socket.AF_UNIX) as listening, open(folder / "bus.log", "ab") as log:
        listening.bind(f"{folder}/bus")
        os.chmod(folder / "bus", 0o666)
        listening.listen(128)
        return subprocess.Popen(["unshare", "--mount", "sh", "-c", START, "sh", str(folder)], stdin=listening, stderr=log,
                                env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder}/bus"})
