"""The picture and the page of the architecture, held against the source and the contracts."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tools.architecture import NAMES, PICTURE, ROOT, floor_of, imports, modules, picture

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "architecture.md"
# A module in the first column of a table, such as `host/files/trust`.
MODULE = re.compile(r"`([a-z_0-9/]+)`")
# What starts a process, as it is called.
STARTS = re.compile(
    r"asyncio\.create_subprocess_\w+|os\.(fork|forkpty|exec|spawn|posix_spawn|system|popen)\w*"
    r"|subprocess\.(run|Popen|call|check_\w+|getoutput|getstatusoutput)"
)
# What imports a module, as it is called.
IMPORTS = re.compile(r"(importlib\.)?import_module|__import__")


def test_the_picture_is_drawn_from_the_source() -> None:
    stored = PICTURE.read_text(encoding="utf-8")
    assert stored == picture(), "docs/architecture.svg is stale: run `make architecture`"


def test_the_floors_are_those_of_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {each["name"]: each for each in settings["tool"]["importlinter"]["contracts"]}
    layers = contracts["Imports run downwards only"]["layers"]
    assert [f"lamplighter.{name}" for name in NAMES] == layers


def test_only_these_modules_start_a_process() -> None:
    found = {
        (name, call)
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and STARTS.fullmatch(call := ast.unparse(node.func))
    }
    assert found == {
        ("host/programs", "asyncio.create_subprocess_exec"),
        ("host/programs", "os.posix_spawn"),
        ("host/systemd/systemctl", "subprocess.run"),
        ("guest/guard", "os.fork"),
        ("guest/processes", "os.posix_spawnp"),
    }


def test_what_a_module_imports_is_at_its_head() -> None:
    found = {
        (name, ast.unparse(node))
        for name, path in modules().items()
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert found == set()


def test_only_these_modules_choose_what_they_import() -> None:
    found = {
        name
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and IMPORTS.fullmatch(ast.unparse(node.func))
    }
    assert found == {
        "cli/main",  # the command
        "cli/output/progress",  # rich, which only a person at a terminal needs
        "formats/suggest",  # difflib, which only a mistyped word needs
        "guest/__main__",  # an old Python, which the rest does not run on, gets a message
        "guest/commands",  # what only installs
        "guest/installation",  # zipfile, which a minimal Python does not have
        "guest/main",  # the command; a guest has little memory and time for the others
        "guest/power",  # ctypes, which a minimal Python does not have
        "toolstacks/choose",  # the driver
    }


def test_the_page_has_every_module_in_a_table_and_no_other() -> None:
    rows = [
        line.split("|")[1]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    named = [name for cell in rows for name in MODULE.findall(cell)]
    there = [name for name in modules() if name.rpartition("/")[2] not in ("__init__", "__main__")]
    assert sorted(named) == sorted(there), "the tables of docs/architecture.md"


def test_an_import_is_counted_once_and_that_of_the_type_checker_apart(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "__init__.py").touch()
    (tmp_path / "model" / "__init__.py").touch()
    (tmp_path / "model" / "run.py").touch()
    (tmp_path / "errors.py").touch()
    (tmp_path / "model" / "plan.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from lamplighter import errors\n"
        "import lamplighter.errors\n"
        "if TYPE_CHECKING:\n"
        "    from lamplighter.errors import Fault\n"
        "    from lamplighter.model.run import Run\n"
    )
    assert [(each.importer, each.imported, each.typing) for each in imports(tmp_path)] == [
        ("model/plan", "errors", False),
        ("model/plan", "model/run", True),
    ]


def test_a_module_on_an_unknown_floor_is_named() -> None:
    with pytest.raises(SystemExit, match="cellar/wine"):
        floor_of("cellar/wine")
