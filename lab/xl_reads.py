"""Runs in dom0, by its own Python: what xl itself makes of definitions. Prints JSON.

    python3 xl_reads.py FOLDER        {file: {"dryrun": exit status, "domain": ..., "values": ...}}

``domain`` is what ``xl create --dryrun`` prints of the domain it would create. ``values`` are asked
of libxlutil, the library with which xl reads the file: each of the keys in FOLDER/keys.json, as
text, or as lists of lists of text, and what it takes for a number.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

LIST = 1  # XLU_LIST of enum XLU_ConfigValueType


def main(folder: Path) -> dict[str, Any]:
    """Return what xl makes of every definition in the folder."""
    keys = json.loads((folder / "keys.json").read_text())
    library = _library()
    return {path.stem: _one(path, keys.get(path.stem), library) for path in folder.glob("*.cfg")}


def _one(path: Path, keys: list[str] | None, library: Any) -> dict[str, Any]:
    ended = subprocess.run(
        ["xl", "create", "--dryrun", str(path)], capture_output=True, timeout=60, check=False
    )
    read: dict[str, Any] = {"dryrun": ended.returncode, "said": ended.stderr.decode("latin-1")}
    if ended.returncode == 0:
        printed = ended.stdout.decode("utf-8", "surrogateescape")
        read["domain"] = json.loads(printed[printed.index("{") :], strict=False)
    if keys is not None:
        read["values"], read["numbers"] = _values(path, keys, library)
    return read


def _library() -> Any:
    [found, *_] = sorted(Path("/usr/lib").rglob("libxlutil.so*"))
    library = ctypes.CDLL(str(found))
    library.xlu_cfg_init.restype = ctypes.c_void_p
    library.xlu_cfg_init.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.xlu_cfg_get_listitem2.restype = ctypes.c_void_p
    return library


def _values(path: Path, keys: list[str], library: Any) -> tuple[dict[str, Any], dict[str, int]]:
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    report = ctypes.c_void_p(libc.fopen(b"/dev/null", b"w"))
    config = ctypes.c_void_p(library.xlu_cfg_init(report, b"test"))
    if library.xlu_cfg_readfile(config, bytes(path)) != 0:
        return {}, {}
    values: dict[str, Any] = {}
    numbers: dict[str, int] = {}
    for key in keys:
        name, text, number = key.encode(), ctypes.c_char_p(), ctypes.c_long()
        items, count = ctypes.c_void_p(), ctypes.c_int()
        if library.xlu_cfg_get_string(config, name, ctypes.byref(text), 1) == 0:
            values[key] = _text(text)
            if library.xlu_cfg_get_long(config, name, ctypes.byref(number), 1) == 0:
                numbers[key] = number.value
        elif (
            library.xlu_cfg_get_list(config, name, ctypes.byref(items), ctypes.byref(count), 1) == 0
        ):
            values[key] = _list(config, items, library)
    return values, numbers


def _list(config: Any, items: Any, library: Any) -> list[Any]:
    found: list[Any] = []
    while item := library.xlu_cfg_get_listitem2(items, len(found)):
        value = ctypes.c_void_p(item)
        if library.xlu_cfg_value_type(value) == LIST:
            inner = ctypes.c_void_p()
            library.xlu_cfg_value_get_list(config, value, ctypes.byref(inner), 1)
            found.append(_list(config, inner, library))
        else:
            text = ctypes.c_char_p()
            library.xlu_cfg_value_get_string(config, value, ctypes.byref(text), 1)
            found.append(_text(text))
    return found


def _text(text: ctypes.c_char_p) -> str:
    return (text.value or b"").decode("utf-8", "surrogateescape")


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
