# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the hook is told about guests that come in, and what an answer of yes is worth to a later lock."""
import json

import pytest
from rig import Disk, domain, until, uuid_of

G1, G2 = uuid_of(1), uuid_of(2)
DEVICE = "a1b2c3d4-f1bb-47f0-914d-000000000101"


@pytest.fixture
def quick(daemon, hypervisor):
    daemon.policy(admission_usec=1000000, held_interval_usec=100000)
    return daemon.start()


def arrive(hypervisor, uuid=G1, **members):
    hypervisor.guest(uuid, name="g1", affected="yes", scope="04.0012", job="incoming", **members)
    hypervisor.hint(uuid=uuid)


# --- yes and no -------------------------------------------------------------------------------------


def test_yes_is_written_before_it_is_said(running, root):
    assert root.admit(domain(device=DEVICE)) == (True, "")
    assert running.admission_files() == [f"{G1}.json"]
    record = json.loads((running.runtime / "admissions" / f"{G1}.json").read_text())
    assert (record["uuid"], record["name"], record["devices"]) == (G1, "g1", [DEVICE])
    migration = root.migrations()[0]
    assert (migration["guest"], migration["uuid"], migration["direction"], migration["phase"]) == ("g1", G1, "in", "admitted")
    assert root.migration(migration["path"])["Devices"] == [DEVICE]


def test_no_names_the_lock(running, root):
    lock = root.take("04.*", "AES rotation of spring")
    allowed, reason = root.admit(domain())
    assert not allowed
    for part in (lock.rpartition("/")[2], "of root", '"AES rotation of spring"', "held", "since 20", "apmigctl unlock"):
        assert part in reason
    assert root.migrations() == [] and running.admission_files() == []
    assert "ADMISSION_DENIED" in running.read_log()
    root.release(lock)
    assert root.admit(domain()) == (True, "")


@pytest.mark.parametrize("lock, guest, allowed", [
    ("04.*", dict(scope="05.0012"), True),
    ("04.*", dict(scope="03-05.0000"), False),
    ("04.0012", dict(scope="all"), False),
    ("04.0012", dict(scope="nonsense"), False),  # what does not read is all
    ("04.0012", dict(scope=""), False),
    ("04.0012", dict(scope=None, device=DEVICE), False),  # its queues are not known yet: all
    ("04.0012", dict(scope="05.0012", device=DEVICE), False),
    ("all", dict(scope=None), True),  # has nothing to do with crypto
])
def test_only_what_overlaps_is_refused(running, root, lock, guest, allowed):
    root.take(lock)
    assert root.admit(domain(**guest))[0] is allowed
    until(lambda: len(running.admission_files()) == int(allowed), "the file of a yes")  # nobody waits for an unaffected one's


def test_unaffected_guest_is_nobodys_concern(running, hypervisor, root):
    root.take()
    hypervisor.do("calls", clear=True)
    assert root.admit(domain(scope=None)) == (True, "")
    assert root.migrations() == []
    assert hypervisor.calls("query") == []
    until(running.admission_files, "what the next run is to know")
    hypervisor.start_guest(G1, name="g1", affected="no")
    until(lambda: running.admission_files() == [], "it to be known")


def test_unaffected_guest_that_comes_in_is_no_breach(quick, hypervisor, root):
    """Its XML cannot be read while it comes in; that it is unaffected is known from the hook."""
    lock = root.take()
    assert root.admit(domain(scope=None)) == (True, "")
    hypervisor.guest(G1, name="g1", affected="no", job="incoming")
    hypervisor.hint(uuid=G1)
    until(lambda: len(hypervisor.calls("query", G1)) >= 1, "its reading")
    assert root.lock(lock)["State"] == "held" and root.lock(lock)["Breaches"] == 0


def test_restore_is_refused_by_a_lock_only(running, root):
    lock = root.take("04.*")
    allowed, reason = root.admit(domain(), operation="restore")
    assert not allowed and lock.rpartition("/")[2] in reason
    assert root.admit(domain(scope="05.0012"), operation="restore") == (True, "")
    root.release(lock)
    assert root.admit(domain(), operation="restore") == (True, "")
    assert root.migrations() == [] and running.admission_files() == []  # a restore is no migration


def test_refused_while_draining_and_while_breached(quick, hypervisor, root):
    hypervisor.guest(G2, name="g2", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    lock = root.take(options={"no-wait": True})
    assert root.admit(domain())[0] is False
    hypervisor.guest(G2, job="none")
    root.wait_for_state(lock, "held")
    hypervisor.guest(G2, job="outgoing")
    root.wait_for_state(lock, "breached")
    assert root.admit(domain())[0] is False


def test_a_guest_may_ask_again(running, root):
    for _ in range(3):
        assert root.admit(domain()) == (True, "")
    assert len(root.migrations()) == 1 and running.admission_files() == [f"{G1}.json"]


def test_no_when_the_yes_cannot_be_written(daemon, hypervisor, root, bus):
    disk = Disk(bus, daemon.runtime)
    daemon.runtime = disk.path
    daemon.start()
    disk.remount("ro")
    allowed, reason = root.admit(domain())
    assert not allowed and "Read-only file system" in reason and "mend apmigd's runtime folder" in reason
    assert root.migrations() == []
    assert root.lock(root.take())["State"] == "held"  # and no lock waits for it


def test_check_guest_tells_what_would_be_said(running, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012")
    hypervisor.guest(G2, name="g2", affected="no", active=False)
    assert root.check("g1") == (True, "", [])
    locks = [root.take("04.*", "AES"), root.take("05.*", "APKA")]
    for guest in ("g1", G1):
        allowed, reason, in_the_way = root.check(guest)
        assert (allowed, in_the_way) == (False, [locks[0]])
        assert locks[0].rpartition("/")[2] in reason and '"AES"' in reason
    assert root.check("g2") == (True, "", [])
    hypervisor.guest(G2, affected="unknown")
    assert root.check("g2")[::2] == (False, locks)
    assert root.migrations() == [] and running.admission_files() == []


# --- what a yes is worth ----------------------------------------------------------------------------


def test_lock_waits_for_an_admitted_guest(running, hypervisor, root):
    """admitted -> incoming -> arrived; the lock is held only then."""
    root.admit(domain())
    migration = root.migrations()[0]["path"]
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")["path"]
    until(lambda: root.manager()["HypervisorState"] == "complete", "a complete reading")
    assert root.lock(lock)["Blockers"] == [migration]
    assert "guest 'g1' was let in and has not appeared yet" in root.lock(lock)["Waiting"]
    arrive(hypervisor)
    until(lambda: root.migration(migration)["Phase"] == "incoming", "the guest")
    assert taking.is_waiting() and hypervisor.calls("step") == []
    hypervisor.guest(G1, job="none")
    assert taking.answer() == [lock]
    ended = root.migration(migration)
    assert (ended["Phase"], ended["Result"]) == ("ended", "completed")
    until(lambda: running.admission_files() == [], "the record to go")


def test_timeout_names_the_admitted_guest(running, root):
    root.admit(domain())
    error = root.start_take(options={"timeout-usec": 300000}).error()
    assert error.short == "Timeout" and "guest 'g1' was let in and has not appeared yet" in error.message
    assert [m["phase"] for m in root.migrations()] == ["admitted"]


def test_refuse_counts_an_admitted_guest(running, root):
    root.admit(domain())
    assert root.start_take(options={"on-busy": "refuse"}).error().short == "Busy"


def test_migration_in_that_fails(running, hypervisor, root):
    root.admit(domain())
    migration = root.migrations()[0]["path"]
    lock = root.take(options={"no-wait": True})
    arrive(hypervisor)
    until(lambda: root.migration(migration)["Phase"] == "incoming", "the guest")
    assert root.lock(lock)["State"] == "draining"
    hypervisor.do("remove", uuid=G1, stopped="failed")
    until(lambda: root.migration(migration)["Phase"] != "incoming", "its end")
    # The hook's yes may still stand for another try of the same guest.
    assert root.migration(migration)["Result"] in ("", "failed")


def test_admitted_guest_that_never_comes(quick, hypervisor, root):
    root.admit(domain())
    migration = root.migrations()[0]["path"]
    root.take()
    assert root.migration(migration)["Result"] == "vanished"
    until(lambda: quick.admission_files() == [], "the record to go")


def test_admission_ends_without_a_lock_too(quick, root):
    root.admit(domain())
    until(lambda: root.migrations() == [], "the admission to be over")
    until(lambda: quick.admission_files() == [], "the record to go")


def test_admission_does_not_end_without_a_view(quick, hypervisor, root):
    """Time alone proves nothing: it ends only when libvirt knows no such guest either."""
    root.admit(domain())
    hypervisor.do("lose", reason="gone")
    until(lambda: root.manager()["HypervisorState"] == "disconnected", "the loss")
    error = root.start_take(options={"timeout-usec": 1500000}).error()
    assert error.short == "HypervisorUnavailable" and "'g1' was let in" in error.message
    assert len(root.migrations()) == 1
    hypervisor.do("connect")
    until(lambda: root.migrations() == [], "the admission to be over")


def test_admission_outlasts_its_time_while_the_guest_comes_in(quick, hypervisor, root):
    root.admit(domain())
    migration = root.migrations()[0]["path"]
    arrive(hypervisor)
    error = root.start_take(options={"timeout-usec": 1500000}).error()
    assert error.short == "Timeout" and "'g1' is migrating in" in error.message
    assert root.migration(migration)["Phase"] == "incoming"


def test_guest_of_another_scope_is_not_waited_for(running, root):
    root.admit(domain(scope="05.0012"))
    assert root.lock(root.take("04.*"))["State"] == "held"


# --- crashes ----------------------------------------------------------------------------------------


def test_yes_counts_after_a_crash(daemon, hypervisor, root):
    """The guest was let in; whoever takes the lock after the crash waits until it is accounted for."""
    daemon.start()
    assert root.admit(domain())[0] is True
    daemon.kill()
    hypervisor.disconnect()
    daemon.start()
    assert [(m["uuid"], m["phase"], m["scope"]) for m in root.migrations()] == [(G1, "admitted", "04.0012")]
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")["path"]
    until(lambda: root.manager()["HypervisorState"] == "complete", "a complete reading")
    assert taking.is_waiting() and "'g1' was let in" in root.lock(lock)["Waiting"]
    arrive(hypervisor)
    until(lambda: root.migrations()[0]["phase"] == "incoming", "the guest")
    assert taking.is_waiting()
    hypervisor.guest(G1, job="none")
    assert taking.answer() == [lock]


def test_yes_counts_after_a_crash_with_the_guest_there(daemon, hypervisor, root):
    daemon.start()
    root.admit(domain())
    arrive(hypervisor)
    daemon.kill()
    hypervisor.disconnect()
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "job": "incoming"})
    daemon.start()
    error = root.start_take(options={"timeout-usec": 500000}).error()
    assert error.short == "Timeout" and "'g1' is migrating in" in error.message


def test_guest_that_comes_in_unknown_after_a_restart_is_waited_for(daemon, hypervisor, root):
    """Without the hook's word, and with an XML that cannot be read yet, it counts as one of every scope."""
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "no", "job": "incoming"})
    daemon.start()
    error = root.start_take("04.0012", options={"timeout-usec": 300000}).error()
    assert error.short == "Timeout" and "'g1' is migrating in" in error.message
    assert hypervisor.calls("step") == []


def test_unaffected_guest_that_comes_in_is_known_after_a_crash(daemon, hypervisor, root):
    daemon.start()
    assert root.admit(domain(scope=None)) == (True, "")
    until(lambda: daemon.admission_files() == [f"{G1}.json"], "its file")  # nobody waits for it: it is written beside, first
    daemon.kill()
    hypervisor.disconnect()
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "no", "job": "incoming"})
    daemon.start()
    assert root.lock(root.take("04.0012"))["State"] == "held"
    assert root.migrations() == []


@pytest.mark.parametrize("content", ["", "garbage", '{"version": 2}', "\0" * 100], ids=["empty", "garbage", "newer", "zeros"])
def test_damaged_admission_counts_as_one(daemon, hypervisor, root, content):
    daemon.start()
    root.admit(domain())
    daemon.kill()
    (daemon.runtime / "admissions" / f"{G1}.json").write_text(content)
    daemon.start()
    assert [(m["uuid"], m["phase"], m["scope"]) for m in root.migrations()] == [(G1, "admitted", "all")]
    assert root.start_take("77.0001", options={"timeout-usec": 200000}).error().short == "Timeout"


def test_admission_of_an_earlier_boot_is_over(daemon, hypervisor, root):
    daemon.start()
    root.admit(domain())
    daemon.kill()
    file = daemon.runtime / "admissions" / f"{G1}.json"
    record = json.loads(file.read_text())
    record["boot-id"] = "0" * 32
    file.write_text(json.dumps(record))
    daemon.start()
    assert root.migrations() == [] and daemon.admission_files() == []


def test_what_is_no_admission_is_left_where_it_is(daemon, hypervisor, root):
    folder = daemon.runtime / "admissions"
    folder.mkdir(parents=True)
    (folder / "README").write_text("x")
    daemon.start()
    assert root.migrations() == [] and daemon.admission_files() == ["README"]
    assert "README is not an admission and is ignored" in daemon.read_log()
