# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inside the machine: runs what the outer machine asks for, one after the other. See machine.py for the other end.

Spoken over a virtio serial port are lines of JSON: {"ready": BOOT ID} once, and for each {"run": [ARGV...]} any
number of {"output": TEXT}, then {"status": N} (negative: the signal; 127: it could not be started).
"""

import codecs
import json
import os
import select
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "HOME": "/root", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}


class Port:
    def __init__(self, path):
        self._fd = os.open(path, os.O_RDWR)

    def say(self, message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data):]

    def lines(self):
        pending = b""
        while data := os.read(self._fd, 65536):
            *lines, pending = (pending + data).split(b"\n")
            yield from lines


def run(port, argv):
    """Returns its status once it has ended, whatever it has left running."""
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env=ENVIRONMENT, cwd="/", start_new_session=True)
    except OSError as error:
        port.say({"output": f"{argv[0]}: {error.strerror}\n"})
        return 127
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    with process.stdout as output:
        while True:
            ended = process.poll() is not None
            if select.select([output], [], [], 0 if ended else 0.2)[0]:
                data = os.read(output.fileno(), 65536)
                if not data:
                    return process.wait()
                port.say({"output": decode(data)})
            elif ended:
                return process.returncode


def main():
    port = Port(sys.argv[1])
    port.say({"ready": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()})
    for line in port.lines():
        port.say({"status": run(port, json.loads(line)["run"])})


main()
