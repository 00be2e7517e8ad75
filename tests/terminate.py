# SPDX-License-Identifier: LGPL-2.1-or-later
"""A run of tests that is ended from outside, as by timeout(1), ends what it started and removes what it made."""
import signal


def pytest_configure(config):
    def terminate(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminate)
