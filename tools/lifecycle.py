"""Write docs/lifecycle.md from the transition table: `PYTHONPATH=src python tools/lifecycle.py`."""

from __future__ import annotations

from pathlib import Path

from lamplighter.model.lifecycle import TRANSITIONS

PAGE = Path(__file__).parent.parent / "docs" / "lifecycle.md"

HEAD = """# The life of a domain during a run

Generated from `src/lamplighter/model/lifecycle.py` by `tools/lifecycle.py`; a test fails when this
page is out of date.

```mermaid
stateDiagram-v2
"""


def page() -> str:
    """Return the page: a diagram that GitHub and others draw, and the same as a table."""
    rows = [
        (before, sorted(after.value for after in afters)) for before, afters in TRANSITIONS.items()
    ]
    arrows = [
        f"    {before.name.lower()} --> {after.replace('-', '_')}\n"
        for before, afters in rows
        for after in afters
    ]
    table = [f"| {before.value} | {', '.join(afters)} |\n" for before, afters in rows]
    return HEAD + "".join(arrows) + "```\n\n| from | to |\n| --- | --- |\n" + "".join(table)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
