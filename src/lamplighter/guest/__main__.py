"""The entry point of ``lamplighter-agent`` and of ``python -m lamplighter.guest``.

Any Python can parse this file, so that one that is too old can say so.
"""

import sys
from importlib import import_module

HERE = tuple(sys.version_info[:2])

if HERE < (3, 9):
    message = "lamplighter-agent: it needs Python 3.9 or later; %s is %d.%d\n"
    sys.stderr.write(message % (sys.executable, HERE[0], HERE[1]))
    sys.exit(78)
sys.exit(import_module("lamplighter.guest.main").main(sys.argv[1:]))
