# SPDX-License-Identifier: LGPL-2.1-or-later
"""One rig for the whole run; after each test the hosts are as before it, and apmigd has neither died nor lost its
manners. On failure the report shows what both hosts then said."""

import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1])]
pytest.register_assert_rewrite("checks", "host")

import terminate  # noqa: E402 (needs the path)
from rig import Rig  # noqa: E402 (needs the path)

pytest_configure = terminate.pytest_configure


@pytest.fixture(scope="session")
def shared_rig():
    install = os.environ.get("APMIGD_INSTALL")
    if not install or not Path(install, "usr/sbin/apmigd").exists():
        pytest.exit("APMIGD_INSTALL must name a folder filled by `meson install --destdir`: use tests/run.sh hosts", 4)
    with Rig(install=Path(install)) as rig:
        yield rig


@pytest.fixture
def rig(shared_rig, request):
    """The rig, clean. A test that ends apmigd or libvirtd need not start it again."""
    request.node.rig = shared_rig
    shared_rig.deaths_expected = False
    yield shared_rig
    unexpected = [] if shared_rig.deaths_expected else [
        f"apmigd on {host.name} ended with status {host.apmigd.status}"
        for host in shared_rig.hosts if host.apmigd.status is not None]
    shared_rig.clean()
    assert not unexpected, f"{unexpected[0]}"


@pytest.fixture
def a(rig):
    return rig.hosts[0]


@pytest.fixture
def b(rig):
    return rig.hosts[1]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    rig = getattr(item, "rig", None)
    if report.failed and rig:
        for host in rig.hosts:
            report.sections.append((f"{host.name}", host.describe()))


def pytest_terminal_summary(terminalreporter):
    """Figures that tests measured."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name} {value}")
