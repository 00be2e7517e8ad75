# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stands in for systemd-journald: what apmigd tells it, and journal files of that."""

import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

REMOTE = "/lib/systemd/systemd-journal-remote"


def message_ids():
    """By their names."""
    text = Path(__file__).resolve().parents[1].joinpath("daemon", "base", "log.c").read_text(encoding="utf-8")
    return dict(re.findall(r'\{"([A-Z_]+)", "([0-9a-f]{32})"\}', text))


IDS = message_ids()


class FakeJournald:
    """Listens where journald does, but in @folder. Each entry is a list of (field, value)."""

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.entries = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.folder / "socket"))
        (self.folder / "socket").chmod(0o666)  # as journald's
        self.reads = threading.Event()
        self.reads.set()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        """Journald's native protocol, for values on one line: all of apmigd's are."""
        while True:
            self.reads.wait()
            text = self.socket.recv(65536).decode()
            if text == "end":
                return
            now = time.time_ns() // 1000
            self.entries.append([("__REALTIME_TIMESTAMP", str(now)), *(tuple(line.split("=", 1))
                                                                       for line in text.splitlines())])

    def hang(self):
        """From now on it reads nothing, but for one entry that it is waiting for, until go_on()."""
        self.reads.clear()

    def go_on(self):
        self.reads.set()

    def close(self):
        self.go_on()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", str(self.folder / "socket"))
        self.reader.join(20)
        self.socket.close()

    def find(self, **fields):
        """Those that have all of these, as dicts; of a field that is there several times the last counts."""
        entries = [dict(entry) for entry in list(self.entries)]
        return [entry for entry in entries if all(entry.get(name) == value for name, value in fields.items())]

    def write_file(self, folder, unit="apmigd.service", more=()):
        """Makes a journal file of what came, and of more such lists, as journald keeps it when a unit has sent it."""
        if not shutil.which(REMOTE):
            pytest.skip("needs systemd-journal-remote")
        text = ""
        for number, entry in enumerate([*self.entries, *more]):
            fields = [("__MONOTONIC_TIMESTAMP", str(1000 + number)), ("_BOOT_ID", "0123456789abcdef0123456789abcdef"),
                      ("_SYSTEMD_UNIT", unit)]
            names = [name for name, _ in entry]
            fields = [field for field in fields if field[0] not in names]
            text += "".join(f"{name}={value}\n" for name, value in [*entry, *fields]) + "\n"
        folder.mkdir(exist_ok=True)
        subprocess.run([REMOTE, "-o", str(folder / "system.journal"), "-"], input=text, text=True, check=True,
                       timeout=20, capture_output=True)


def journal_stream(log):
    """By which a process knows that its standard error, the file @log, is the journal's: its JOURNAL_STREAM."""
    log.touch()
    status = log.stat()
    return f"{status.st_dev}:{status.st_ino}"
