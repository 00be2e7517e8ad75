# SPDX-License-Identifier: LGPL-2.1-or-later
"""Metrics for Prometheus: the file follows the locks, and is what their client library takes."""
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rig import domain, until, uuid_of


@pytest.fixture
def metrics(daemon, hypervisor, folder):
    """Gives what the file has, as a dict from sample to number; the daemon runs."""
    path = folder / "metrics" / "apmigd.prom"
    path.parent.mkdir()
    daemon.config.write_text(daemon.config.read_text() + f"[Metrics]\nTextfile={path}\n")
    daemon.start()
    until(path.exists, "the metrics")

    def metrics():
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        return {sample: int(number) for sample, _, number in (line.partition(" ") for line in lines)}
    metrics.path = path
    return metrics


def test_metrics_follow_what_happens(metrics, hypervisor, root):
    until(lambda: metrics()["apmigd_hypervisor_connected"] == 1, "the connection")
    lock = root.take("04.*")
    until(lambda: metrics()['apmigd_locks{state="held"}'] == 1, "the lock")
    assert metrics()['apmigd_events_total{event="lock_held"}'] == 1
    assert metrics()["apmigd_oldest_lock_requested_timestamp_seconds"] == root.lock(lock)["RequestedAt"] // 10**6
    assert root.admit(domain())[0] is False and root.admit(domain("g2", uuid_of(2), "05.0001"), "g2")[0] is True
    until(lambda: metrics()['apmigd_migrations{direction="in"}'] == 1, "the admission")
    assert metrics()['apmigd_events_total{event="admission_denied"}'] == 1
    assert metrics()["apmigd_hook_last_called_timestamp_seconds"] > 1_700_000_000
    root.release(lock)
    until(lambda: metrics()['apmigd_locks{state="held"}'] == 0, "the end of the lock")


def test_file_is_written_when_something_changes_alone(metrics, root):
    """By another name first: the collector never reads half of it. Nothing is left beside it."""
    root.take("04.*")
    until(lambda: metrics()['apmigd_locks{state="held"}'] == 1, "the lock")
    written = metrics.path.stat()
    root.locks()
    root.manager()
    time.sleep(2)  # in which it would be written twice
    assert (metrics.path.stat().st_ino, metrics.path.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert [path.name for path in metrics.path.parent.iterdir()] == ["apmigd.prom"]
    assert written.st_mode & 0o777 == 0o644


def test_client_library_takes_it(metrics):
    """Each metric is told with its help and type, once."""
    families = list(text_string_to_metric_families(metrics.path.read_text()))
    assert families and len({family.name for family in families}) == len(families)
    for family in families:
        assert family.documentation and family.type in ("gauge", "counter") and family.samples, family.name


def test_folder_that_is_missing_stops_nothing(daemon, hypervisor, folder, root):
    daemon.config.write_text(daemon.config.read_text() + f"[Metrics]\nTextfile={folder}/nowhere/apmigd.prom\n")
    daemon.start()
    daemon.wait_for_log("The metrics cannot be written")
    root.take("04.*")
    assert daemon.read_log().count("The metrics cannot be written") == 1
