"""The contract tests, which state what the product relies on of a Xen host, pass on real Xen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.wheels import HOME as VENV
from lab.wheels import ROOT

if TYPE_CHECKING:
    from lab.dom0 import Dom0

ALWAYS = True
SECONDS = 160
ANY_XENSTORE = True
USUALLY = {"trixie", "bookworm-cxenstored"}
DEADLINE = 900.0
HOME = "/root/contract"
PYTHON = f"{VENV}/bin/python"
PYTEST = f"{PYTHON} -m pytest -c /dev/null --rootdir=. -p no:cacheprovider -q --tb=short"


def run(host: Dom0) -> None:
    host.copy([ROOT / "tests" / "contract"], f"{HOME}/tests")
    ended = host.run(
        f"cd {HOME} && LAMPLIGHTER_CONTRACT=xen PYTHONPATH=. {PYTEST} tests/contract",
        timeout=DEADLINE,
        check=False,
    )
    assert ended.status == 0, ended.stdout[-20000:] + ended.stderr[-1000:]
    assert " passed" in ended.stdout, ended.stdout
