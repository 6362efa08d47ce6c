"""How hypothesis goes about it in every test of ours."""

from __future__ import annotations

import os

from hypothesis import settings

# A loaded machine must fail no test: there is no deadline. CI tries the same examples each time, so
# that a change is judged by what it changes; everywhere else new ones are tried.
settings.register_profile("ours", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ours")
