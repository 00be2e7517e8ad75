# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon that speaks to a stand-in for journald."""
import pathlib
import sys

import pytest
import rig

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parents[1]))

from fake_journald import IDS, FakeJournald, journal_stream  # noqa: E402, F401 (needs the path; IDS is for tests)

NAMESPACE = """mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && mount --bind "$1" /run/systemd/journal &&
shift && exec "$@" """


class Journal(FakeJournald):
    def attach(self, daemon):
        """It gets a /run of its own, with this journal in it."""
        daemon.environment["JOURNAL_STREAM"] = journal_stream(daemon.log)
        daemon.wrapper = ["unshare", "--mount", "sh", "-c", NAMESPACE, "sh", self.folder]

    def wait_for(self, **fields):
        return rig.until(lambda: self.find(**fields), f"an entry with {fields}")[-1]


@pytest.fixture
def journal(folder):
    journal = Journal(folder / "journal")
    yield journal
    journal.close()


@pytest.fixture
def journaled(daemon, hypervisor, journal):
    """apmigd-scripted, running, with its journal."""
    journal.attach(daemon)
    daemon.start()
    return daemon
