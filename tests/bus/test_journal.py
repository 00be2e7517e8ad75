# SPDX-License-Identifier: LGPL-2.1-or-later
"""A journal that does not read: nobody waits for it, and what it was to be told of locks it is told when it reads again."""
import re
import time

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

import rig  # noqa: E402
from journal import IDS  # noqa: E402
from rig import domain, until, uuid_of  # noqa: E402

REFUSALS = 6000  # more than there is room for
AT_A_TIME = 100
LOCKS = 30


class Connection:
    """Calls that do not take a process each."""

    def __init__(self, bus):
        flags = Gio.DBusConnectionFlags
        self.connection = Gio.DBusConnection.new_for_address_sync(
            bus.address, flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)

    def call(self, member, signature, *arguments, limit=rig.LIMIT):
        return self.connection.call_sync(rig.NAME, rig.ROOT_PATH, rig.MANAGER, member, GLib.Variant(signature, arguments),
                                         None, Gio.DBusCallFlags.NONE, limit * 1000, None).unpack()

    def be_refused(self, times):
        """By asking for what is locked; so many at a time as the bus lets pass."""
        answers = []

        def answered(connection, result):
            try:
                connection.call_finish(result)
            except GLib.Error as error:
                answers.append(error.message)

        for number in range(times):
            # Until it is known that this is root's, a connection may wait for few answers.
            at_a_time = AT_A_TIME if answers else 1
            self.connection.call(rig.NAME, rig.ROOT_PATH, rig.MANAGER, "TakeLock",
                                 GLib.Variant("(ssa{sv})", ("04.*", "AES rotation", {})), None, Gio.DBusCallFlags.NONE,
                                 1000 * rig.LIMIT, None, answered)
            while number + 1 - len(answers) >= at_a_time:
                GLib.MainContext.default().iteration(True)
        while len(answers) < times:
            GLib.MainContext.default().iteration(True)
        assert all("Locked" in answer for answer in answers)


def test_journal_that_does_not_read(journaled, hypervisor, journal, root, bus):
    connection = Connection(bus)
    held = connection.call("TakeLock", "(ssa{sv})", "04.*", "AES rotation", {})[0]
    journal.hang()
    connection.be_refused(REFUSALS)
    begin = time.monotonic()
    allowed, reason, _ = connection.call("AdmitMigration", "(sssss)", "g1", "migrate", "begin", "-", domain())
    assert not allowed and held[-8:] in reason
    assert time.monotonic() - begin < rig.LIMIT / 4  # the journal reads nothing until it is told to
    locks = []
    for _ in range(LOCKS):
        locks.append(connection.call("TakeLock", "(ssa{sv})", "05.*", "AES rotation", {})[0])
        connection.call("ReleaseLock", "(oa{sv})", locks[-1], {"force": GLib.Variant("b", True)})
    hypervisor.guest(uuid_of(2), name="g2", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    hypervisor.hint(uuid=uuid_of(2))
    root.wait_for_state(held, "breached")
    assert not journal.find(MESSAGE_ID=IDS["LOCK_BREACHED"])
    journal.go_on()

    journal.wait_for(MESSAGE_ID=IDS["LOCK_BREACHED"])
    lost = until(lambda: [entry for entry in journal.find() if "entries were left out" in entry["MESSAGE"]], "what was lost")
    for kind in ("LOCK_REQUESTED", "LOCK_HELD", "LOCK_ENDED"):
        told = [entry["LOCK_ID"] for entry in journal.find(MESSAGE_ID=IDS[kind]) if entry["LOCK_ID"] != held[-8:]]
        assert told == [lock[-8:] for lock in locks]
    refusals, others = map(int, re.search(r": ([0-9]+) refusals of requests, ([0-9]+) others", lost[0]["MESSAGE"]).groups())
    assert refusals > 0 and others > 0

    def told_and_lost(kind, count):
        return len(journal.find(MESSAGE_ID=IDS[kind])) + count

    until(lambda: told_and_lost("REQUEST_REFUSED", refusals) == REFUSALS, "the refusals to be accounted for")
    until(lambda: told_and_lost("REQUEST_MADE", others) >= REFUSALS + 2 * LOCKS, "what was asked for as well")
    assert len([entry for entry in journal.find() if "entries were left out" in entry["MESSAGE"]]) == 1


def test_end_under_a_journal_that_does_not_read(journaled, journal, root, bus):
    """It does not wait for it for ever."""
    root.take("04.*")
    journal.hang()
    Connection(bus).be_refused(1000)
    journaled.stop()
