"""Adds bytecode to the one-file program, for the Python that installs it.

Without bytecode every start compiles every module again. That takes a fifth of a second on a good
machine and far longer on one that is busy shutting down, when scripts call the program. So the
installed program carries bytecode beside its sources. A later Python sees by the magic number
whether the bytecode is its own and otherwise uses the sources: nothing has to be kept in step.
"""

from __future__ import annotations

import io
import marshal
import zipfile
from importlib.util import MAGIC_NUMBER, source_hash

#: Flags of hash-based bytecode that is not compared with the source beside it (PEP 552).
UNCHECKED = (1).to_bytes(4, "little")

EPOCH = (1980, 1, 1, 0, 0, 0)


def with_bytecode(program: bytes, place: str) -> bytes:
    """Return the program with bytecode for this Python; tracebacks name files below ``place``."""
    shebang, _, _ = program.partition(b"\n")
    target = io.BytesIO()
    target.write(shebang + b"\n")
    source = zipfile.ZipFile(io.BytesIO(program))
    with source, zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            if name.endswith(".pyc"):
                continue
            content = source.read(name)
            if name.endswith(".py"):
                code = compile(content, f"{place}/{name}", "exec", dont_inherit=True)
                header = MAGIC_NUMBER + UNCHECKED + source_hash(content)
                _add(archive, f"{name}c", header + marshal.dumps(code))
            _add(archive, name, content)
    return target.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
