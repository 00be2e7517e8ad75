# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigctl report: what happened during a key change, from a journal file that has what the daemon said."""
import json

import pytest
import rig
from journal import IDS
from rig import APMIGCTL, domain, uuid_of

G1 = uuid_of(1)
OK, USAGE, NOT_FOUND = 0, 2, 8


def lock_id(path):
    return path.rpartition("/")[2]


@pytest.fixture
def report(root, folder):
    """Runs apmigctl report on a journal; gives (exit status, standard output, standard error)."""
    def report(*arguments, client=root):
        process = client.run(APMIGCTL, "report", "--directory", folder / "files", *arguments)
        out, err = process.communicate(timeout=rig.LIMIT)
        return process.returncode, out, err
    return report


def test_report_of_a_change(journaled, journal, hypervisor, root, folder, report):
    hypervisor.start_guest(G1, name="g1", affected="yes", scope="04.0012", job="outgoing", step_ms=20)
    lock = root.take("04.*", "AES rotation of spring", {"change-id": "CHG1"})
    root.admit(domain("g2", uuid_of(2)), "g2")
    root.admit(domain("g2", uuid_of(2)), "g2")
    root.admit(domain("g3", uuid_of(3), "05.0001"), "g3")
    root.start_take("04.*", "another", {"change-id": "CHG1"}).error()
    root.release(lock)
    other = root.take("06.*", options={"change-id": "CHG2"})
    journal.wait_for(LOCK_ID=lock_id(other), MESSAGE_ID=IDS["LOCK_HELD"])
    forged = [("__REALTIME_TIMESTAMP", journal.entries[-1][0][1]), ("MESSAGE", "forged"), ("CHANGE_ID", "CHG1"),
              ("MESSAGE_ID", IDS["LOCK_BREACHED"]), ("_SYSTEMD_UNIT", "user@1000.service")]
    journal.write_file(folder / "files", more=[forged])

    status, out, err = report("CHG1", "--json=short")
    assert (status, err) == (OK, "")
    answer = json.loads(out)
    assert answer["ChangeId"] == "CHG1" and "forged" not in out
    assert [found["Id"] for found in answer["Locks"]] == [lock_id(lock)]
    found = answer["Locks"][0]
    assert 0 < found["RequestedAt"] <= found["HeldAt"] <= found["EndedAt"] and found["Result"] == "released"
    assert answer["Counts"] == {"Refused": 2, "LetIn": 0, "Aborted": 1, "CompletedAnyway": 0, "Breaches": 0, "Attempted": 0, "Departed": 0, "Late": 0,
                                "Permitted": 0, "Overdue": 0,
                                "ReleasesRefused": 0, "RequestsRefused": 1}
    assert [e["Request"] for e in answer["Entries"] if "Request" in e] == ["take", "take", "take", "release"]
    assert all(e["CallerUid"] == 0 for e in answer["Entries"] if "Request" in e)
    assert {e["Event"] for e in answer["Entries"]} >= {"LOCK_REQUESTED", "LOCK_HELD", "MIGRATION_ENDED", "ADMISSION_DENIED"}

    status, out, err = report("CHG1")
    assert (status, err) == (OK, "")
    for part in ("Change CHG1", f"Lock {lock_id(lock)}", "AES rotation of spring", "2 guests refused",
                 "1 migrations ended by apmigd", "Who asked", "refused", "What happened"):
        assert part in out

    status, by_lock, _ = report("--lock", lock_id(other), "--json=short")
    assert status == OK and [e["Id"] for e in json.loads(by_lock)["Locks"]] == [lock_id(other)]
    assert report("--lock", lock_id(other), "--since=1h")[0] == OK


def test_report_of_nothing(journaled, journal, root, folder, report, nobody):
    root.take("04.*", options={"change-id": "CHG1"})
    journal.wait_for(MESSAGE_ID=IDS["LOCK_HELD"])
    journal.write_file(folder / "files")
    status, out, err = report("CHG9")
    assert (status, out) == (NOT_FOUND, "") and "CHG9" in err
    assert report("CHG1", "--since=2999-01-01")[0] == NOT_FOUND
    assert report("CHG1", "--since=2001-01-01 08:00")[0] == OK
    for wrong in ([], ["CHG1", "--lock=00000000"], ["CHG1", "--since=soon"]):
        assert report(*wrong)[0] == USAGE


def test_report_is_safe_on_a_terminal(journal, folder, report):
    entry = [("__REALTIME_TIMESTAMP", "1700000000000000"), ("MESSAGE", "a\x1b[31m\u202eb"), ("CHANGE_ID", "CHG1"),
             ("LOCK_ID", "00000001"), ("MESSAGE_ID", IDS["LOCK_HELD"])]
    journal.write_file(folder / "files", more=[entry])
    status, out, _ = report("CHG1")
    assert status == OK and "\x1b" not in out and "\u202e" not in out and "a\\u{1b}[31m" in out
