"""Draw docs/architecture.svg from the imports of src/lamplighter: `make architecture`.

The source is read, not imported, so that the picture can be drawn of a tree that does not run. An
import is counted once for each pair of modules. One that only the type checker follows (below
`if TYPE_CHECKING:`) is counted apart.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "lamplighter"
PICTURE = ROOT / "docs" / "architecture.svg"

# The floors from the top, as in pyproject.toml: (name, what it is, whether it is pure).
FLOORS = (
    ("cli", ("the commands,", "and what they print"), False),
    ("service", ("composition: runs, the", "monitor, the inventory"), False),
    ("toolstacks", ("what creates, destroys", "and lists domains"), False),
    ("embedded", ("a small Xen host", "in one process"), False),
    ("host", ("files, journal, sockets,", "programs, systemd, time"), False),
    ("report", ("what is answered,", "as documents"), True),
    ("guest", ("the agent inside a domain;", "ships as one file"), False),
    ("engine", ("the decisions: plan, start,", "stop, recovery"), True),
    ("xenstore", ("the wire protocol,", "both ends, no sockets"), True),
    ("formats", ("text to data,", "and data to text"), True),
    ("model", ("frozen data, and the", "table of transitions"), True),
    ("errors", ("every error, with", "code and hint"), True),
)
NAMES = tuple(name for name, _, _ in FLOORS)

FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif"
INK, SOFT, LINE = "#1f2933", "#5f6c7b", "#c3ccd6"
ACTS, PURE, UPWARDS = ("#eef3fb", "#3b6fb6"), ("#edf7ef", "#2f8551"), "#c62828"

MARGIN, LABEL, COLUMNS, COLUMN = 24, 184, 7, 132
PAD, GAP, ROW, TITLE = 10, 8, 18, 20
CONTENT = COLUMNS * COLUMN + 2 * PAD + 4 * GAP
WIDTH = 2 * MARGIN + LABEL + CONTENT


@dataclass(frozen=True)
class Import:
    """One module imports another one; `typing` when only the type checker follows it."""

    importer: str
    imported: str
    typing: bool


def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Return the files of the package by the name that a reader sees, such as `host/clock`."""
    return {
        path.relative_to(source).with_suffix("").as_posix(): path
        for path in sorted(source.rglob("*.py"))
    }


def shown(source: Path = SOURCE) -> list[str]:
    """Return the modules that are drawn: all but the packages' own files and the entry point."""
    return [
        name
        for name in modules(source)
        if not name.endswith("__init__") and name not in ("__init__", "__main__")
    ]


def floor_of(module: str) -> str:
    """Return the floor on which the module stands."""
    floor = module.partition("/")[0]
    if floor not in NAMES:
        raise SystemExit(f"tools/architecture.py: {module} stands on none of the floors of FLOORS")
    return floor


def wing_of(module: str) -> str:
    """Return the module's folder below its floor, or an empty text."""
    return "/".join(module.split("/")[1:-1])


def imports(source: Path = SOURCE) -> list[Import]:
    """Return every import of a module of the package by another one, sorted."""
    files = modules(source)
    found: dict[tuple[str, str], bool] = {}
    for importer, path in files.items():
        if importer in ("__init__", "__main__"):
            continue
        for name, typing in _imported_names(ast.parse(path.read_text(encoding="utf-8"))):
            imported = _module(name, files)
            if imported is not None and imported != importer:
                pair = (importer, imported)
                found[pair] = found.get(pair, True) and typing
    return sorted(
        (Import(*pair, typing) for pair, typing in found.items()),
        key=lambda each: (each.importer, each.imported),
    )


def _imported_names(tree: ast.AST, *, typing: bool = False) -> Iterator[tuple[str, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", typing) for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _imported_names(ast.Module(node.body, []), typing=True)
            yield from _imported_names(ast.Module(node.orelse, []), typing=typing)
        else:
            yield from _imported_names(node, typing=typing)


def _module(dotted: str, files: dict[str, Path]) -> str | None:
    """Return the module of the package that holds this name; None for one of elsewhere."""
    first, *rest = dotted.split(".")
    if first != "lamplighter":
        return None
    for end in (len(rest), len(rest) - 1):
        path = "/".join(rest[:end])
        if not path:
            return None
        if path in files:
            return path
        if f"{path}/__init__" in files:
            return f"{path}/__init__"
    return None


class Drawing:
    """An SVG text, one element a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def rect(
        self, x: int, y: int, width: int, height: int, fill: str, stroke: str = "none",
        radius: int = 6,
    ) -> None:  # fmt: skip
        """Draw a box."""
        self.lines.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"'
            f' fill="{fill}" stroke="{stroke}"/>'
        )

    def text(
        self, x: int, y: int, text: str, size: int = 12, fill: str = INK, *, bold: bool = False,
        anchor: str = "start",
    ) -> None:  # fmt: skip
        """Write a text; `anchor` is start, middle or end."""
        style = f'font-size="{size}" fill="{fill}"' + (' font-weight="600"' if bold else "")
        if anchor != "start":
            style += f' text-anchor="{anchor}"'
        self.lines.append(f'<text x="{x}" y="{y}" {style}>{escape(text)}</text>')

    def svg(self, height: int, title: str) -> str:
        """Return the whole picture, on a white ground."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
            f' viewBox="0 0 {WIDTH} {height}" role="img" font-family="{FONT}">'
        )
        ground = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
        return "\n".join(
            [head, "<!-- Written by tools/architecture.py: make architecture -->",
             f"<title>{title}</title>", ground, *self.lines, "</svg>", ""]
        )  # fmt: skip


def picture(source: Path = SOURCE) -> str:
    """Return the picture: the floors with their wings and modules, and who imports whom."""
    drawing = Drawing()
    found = imports(source)
    drawing.text(MARGIN, 42, "The floors of Lamplighter", 20, bold=True)
    drawing.text(MARGIN, 64, "A module imports from its own floor and from those below.", 13, SOFT)
    _legend(drawing, 42)
    top = 84
    for name, about, pure in FLOORS:
        top = _floor(drawing, top, name, about, PURE if pure else ACTS, source, found) + GAP
    return drawing.svg(_matrix(drawing, top + 34, found) + MARGIN, "The floors of Lamplighter")


def _legend(drawing: Drawing, y: int) -> None:
    pure = "pure: no files, no sockets, no clock"
    for left, (fill, stroke), label in ((410, ACTS, "touches the world"), (250, PURE, pure)):
        x = WIDTH - MARGIN - left
        drawing.rect(x, y - 12, 16, 16, fill, stroke, 3)
        drawing.text(x + 24, y + 1, label, 12, SOFT)


def _floor(
    drawing: Drawing, top: int, name: str, about: tuple[str, str], colours: tuple[str, str],
    source: Path, found: list[Import],
) -> int:  # fmt: skip
    fill, stroke = colours
    wings: dict[str, list[str]] = {}
    for module in shown(source):
        if floor_of(module) == name:
            wings.setdefault(wing_of(module), []).append(module.rpartition("/")[2])
    ordered = sorted(wings.items())
    rows = next(
        rows
        for rows in range(1, 100)
        if sum(-(-len(each) // rows) for _, each in ordered) <= COLUMNS
    )
    titled = any(wing for wing, _ in ordered)
    inner = _inside(name, found)
    box_height = rows * ROW + (TITLE if titled else 0) + 8
    height = max(box_height + 2 * PAD + (18 if inner else 0), 2 * PAD + 46)
    drawing.rect(MARGIN, top, WIDTH - 2 * MARGIN, height, fill, stroke)
    drawing.text(MARGIN + 14, top + 26, name, 16, stroke, bold=True)
    for index, line in enumerate(about):
        drawing.text(MARGIN + 14, top + 44 + 15 * index, line, 11, SOFT)
    x = MARGIN + LABEL + PAD
    columns = [-(-len(each) // rows) for _, each in ordered]
    columns[0] += COLUMNS - sum(columns)
    spare = (5 - len(ordered)) * GAP
    y = top + (height - box_height) // 2 if not inner and not titled else top + PAD
    for index, ((wing, members), wide) in enumerate(zip(ordered, columns, strict=True)):
        width = wide * COLUMN + (spare if index == 0 else 0)
        drawing.rect(x, y, width, box_height, "#ffffff", stroke if wing else LINE, 4)
        if wing:
            drawing.text(x + 10, y + 16, f"{wing}/", 12, stroke, bold=True)
        first = y + (TITLE if titled and wing else 0) + 17
        deep = rows + (1 if titled and not wing else 0)
        for place, member in enumerate(members):
            across, down = divmod(place, deep)
            drawing.text(x + 10 + across * COLUMN, first + down * ROW, member)
        x += width + GAP
    if inner:
        drawing.text(MARGIN + LABEL + PAD, top + height - 9, inner, 11, SOFT)
    return top + height


def _inside(floor: str, found: list[Import]) -> str:
    """Tell which wings of one floor import which, with the number of imports."""
    counts: dict[tuple[str, str], int] = {}
    for each in found:
        if floor_of(each.importer) == floor == floor_of(each.imported):
            pair = (wing_of(each.importer), wing_of(each.imported))
            if pair[0] != pair[1] and not each.imported.endswith("__init__"):
                counts[pair] = counts.get(pair, 0) + 1
    return "  \u00b7  ".join(
        f"{f'{before}/' if before else floor} \u2192 {f'{after}/' if after else floor} {count}"
        for (before, after), count in sorted(counts.items())
    )


def _matrix(drawing: Drawing, top: int, found: list[Import]) -> int:
    """Draw who imports whom as a table, and return its lower edge."""
    counts: dict[tuple[str, str], list[int]] = {}
    for each in found:
        pair = (floor_of(each.importer), floor_of(each.imported))
        counts.setdefault(pair, [0, 0])[each.typing] += 1
    drawing.text(MARGIN, top, "Who imports whom", 16, bold=True)
    drawing.text(
        MARGIN, top + 20,
        "Imports by the floor on the left of modules on the floor above the column;"
        " +n are followed by the type checker alone. Grey: within one floor.", 12, SOFT,
    )  # fmt: skip
    left, wide, tall = MARGIN + 110, (WIDTH - 2 * MARGIN - 110) // len(NAMES), 26
    y = top + 54
    for column, name in enumerate(NAMES):
        drawing.text(left + column * wide + wide // 2, y - 10, name, 12, bold=True, anchor="middle")
    most = max(sum(each) for each in counts.values())
    for row, importer in enumerate(NAMES):
        drawing.text(left - 12, y + row * tall + 17, importer, 12, bold=True, anchor="end")
        for column, imported in enumerate(NAMES):
            running, typing = counts.get((importer, imported), (0, 0))
            _cell(
                drawing, (left + column * wide, y + row * tall, wide - 2, tall - 2),
                (running, typing), most, column - row,
            )  # fmt: skip
    return y + len(NAMES) * tall


def _cell(
    drawing: Drawing, box: tuple[int, int, int, int], counts: tuple[int, int], most: int, below: int
) -> None:
    x, y, width, height = box
    total = sum(counts)
    if not total:
        drawing.rect(*box, "#f6f8fa" if below > 0 else "#ffffff", radius=3)
        return
    strength = 0.12 + 0.5 * total / most
    mixed = (round(255 - (255 - each) * strength) for each in (59, 111, 182))
    shade = "#" + "".join(f"{each:02x}" for each in mixed)
    drawing.rect(*box, UPWARDS if below < 0 else "#e7ebf0" if below == 0 else shade, radius=3)
    running, typing = counts
    label = " ".join(([str(running)] if running else []) + ([f"+{typing}"] if typing else []))
    drawing.text(x + width // 2, y + height // 2 + 4, label, 12, anchor="middle")


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
