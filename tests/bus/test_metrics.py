# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigctl metrics: they tell what happens, as Prometheus' client library takes it, and whether apmigd runs."""
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig import APMIGCTL, LIMIT, Bus, Client, domain, until, uuid_of

OK, FAILURE, USAGE = 0, 1, 2
STATES = ["requested", "draining", "held", "permitted", "unproven", "breached", "verifying", "recovered"]


def run(client, *arguments):
    """(exit status, standard output, standard error)"""
    process = client.run(APMIGCTL, "metrics", *arguments)
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, out, err


def samples(text):
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {sample: int(number) for sample, _, number in (line.partition(" ") for line in lines)}


@pytest.fixture
def metrics(running, root):
    """Gives them as a dict from sample to number; the daemon runs."""
    def metrics(client=root):
        status, out, err = run(client)
        assert (status, err) == (OK, "")
        return samples(out)
    return metrics


def test_metrics_follow_what_happens(metrics, hypervisor, root):
    before = metrics()
    assert before["apmigd_up"] == 1 and before["apmigd_start_timestamp_seconds"] > 1_700_000_000
    assert before["apmigd_oldest_lock_requested_timestamp_seconds"] == before["apmigd_locks_overdue"] == 0
    assert before["apmigd_hook_last_called_timestamp_seconds"] == 0
    assert [before[f'apmigd_locks{{state="{state}"}}'] for state in STATES] == [0] * len(STATES)
    lock = root.take("04.*", '"} 5', {"expected-duration-usec": 1})
    until(lambda: root.lock(lock)["Overdue"], "the lock to be overdue")
    assert root.admit(domain())[0] is False and root.admit(domain("g2", uuid_of(2), "05.0001"), "g2")[0] is True
    now = metrics()
    assert [now[f'apmigd_locks{{state="{state}"}}'] for state in STATES] == [state == "held" for state in STATES]
    assert now["apmigd_hypervisor_connected"] == now["apmigd_locks_overdue"] == 1
    assert now["apmigd_oldest_lock_requested_timestamp_seconds"] == root.lock(lock)["RequestedAt"] // 10**6
    assert (now['apmigd_migrations{direction="in"}'], now['apmigd_migrations{direction="out"}']) == (1, 0)
    assert now["apmigd_hook_last_called_timestamp_seconds"] > 1_700_000_000
    for event in ("request_made", "lock_held", "lock_overdue", "admission_denied", "admission_allowed"):
        assert now[f'apmigd_events_total{{event="{event}"}}'] == 1, event
    root.release(lock)
    assert metrics()['apmigd_locks{state="held"}'] == 0 and metrics()['apmigd_events_total{event="lock_ended"}'] == 1
    hypervisor.do("lose", reason="libvirtd was stopped")
    until(lambda: metrics()["apmigd_hypervisor_connected"] == 0, "the end of the connection")


def test_who_may_read_status_may_read_metrics(metrics, nobody):
    assert metrics(nobody) == metrics()


def test_client_library_takes_it(running, root):
    """Each metric is told with its help and type, once, and so is each sample."""
    out = run(root)[1]
    families = list(text_string_to_metric_families(out))
    assert len(families) == 12 and len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation and family.type in ("gauge", "counter") and family.samples, family.name
    assert len(samples(out)) == sum(len(family.samples) for family in families)


def test_apmigd_does_not_run(bus, root):
    """That is a metric, and no failure: it is for monitoring to say."""
    status, out, err = run(root)
    assert (status, samples(out), err) == (OK, {"apmigd_up": 0}, "")
    assert [family.name for family in text_string_to_metric_families(out)] == ["apmigd_up"]


def test_apmigd_is_not_started(folder):
    """As it would be by whoever asks for its status."""
    mark = folder / "started"
    (folder / "services").mkdir()
    (folder / "services" / "org.apmigd1.service").write_text(
        f"[D-BUS Service]\nName=org.apmigd1\nExec=/usr/bin/touch {mark}\n")
    bus = Bus(folder, f"<servicedir>{folder}/services</servicedir>")
    try:
        status, out, err = run(Client(bus))
        assert (status, samples(out), err) == (OK, {"apmigd_up": 0}, "") and not mark.exists()
        bus.start(APMIGCTL, "status").communicate(timeout=LIMIT)
        assert mark.exists()
    finally:
        bus.close()


def test_file(running, root, folder):
    """It is another one each time, so that the collector never reads half of it; nothing is left beside it, nothing followed."""
    path, victim = folder / "collector" / "apmigd.prom", folder / "victim"
    path.parent.mkdir()
    victim.write_text("mine")
    path.symlink_to(victim)
    for _ in range(2):
        assert run(root, "--output", path) == (OK, "", "")
    assert samples(path.read_text())["apmigd_up"] == 1 and victim.read_text() == "mine"
    assert not path.is_symlink() and path.stat().st_mode & 0o777 == 0o644
    before = path.stat().st_ino
    running.stop()
    assert run(root, "--output", path) == (OK, "", "") and path.stat().st_ino != before
    assert samples(path.read_text()) == {"apmigd_up": 0}
    assert [path.name for path in path.parent.iterdir()] == ["apmigd.prom"]


def test_what_it_does_not_do(running, root, folder):
    status, out, err = run(root, "--output", folder / "nowhere" / "apmigd.prom")
    assert (status, out) == (FAILURE, "") and "No such file or directory" in err
    status, out, err = run(root, "--json=short")
    assert (status, out) == (USAGE, "") and "a format of their own" in err
