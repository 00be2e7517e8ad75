# SPDX-License-Identifier: LGPL-2.1-or-later
"""A stand-in for journald that a daemon is made to speak to."""
import pathlib
import sys

import rig

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))

import fake_journald  # noqa: E402 (needs the path)

IDS = fake_journald.IDS

NAMESPACE = """mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind "$1" /run/systemd/journal &&
shift && exec "$@" """


class Journal(fake_journald.FakeJournald):
    def attach(self, daemon):
        """It gets a /run of its own, with this journal in it."""
        daemon.environment["JOURNAL_STREAM"] = fake_journald.journal_stream(daemon.log)
        daemon.wrapper = ["unshare", "--mount", "sh", "-c", NAMESPACE, "sh", self.folder]

    def wait_for(self, **fields):
        return rig.until(lambda: self.find(**fields), f"an entry with {fields}")[-1]
