"""How hypothesis goes about it in every test of ours, and which signals reach what they start."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# A loaded machine must fail no test: there is no deadline. CI tries the same examples each time, so
# that a change is judged by what it changes; everywhere else new ones are tried.
settings.register_profile("ours", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("ours")


# What others may write to is rightly distrusted. Some logins let a user's group write.
os.umask(0o022)

# Commands inherit what is ignored, and keep to it, as under nohup. Whoever runs the tests in the
# background of a shell must not have it so.
for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
