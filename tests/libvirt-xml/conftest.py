# SPDX-License-Identifier: LGPL-2.1-or-later
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import terminate  # noqa: E402 (needs the path)

pytest_configure = terminate.pytest_configure
