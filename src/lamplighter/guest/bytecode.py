"""The program with its modules compiled, for the Python that is there.

From the one file as it is built every start compiles every module anew: a fifth of a second on a
good machine, many on one that is busy shutting down, and scripts call the program then. So what is
installed carries bytecode beside the sources. A later Python knows its own bytecode by its first
bytes and, where it is another's, takes the sources again: nothing has to be kept in step.
"""

from __future__ import annotations

import io
import marshal
import zipfile
from importlib.util import MAGIC_NUMBER, source_hash

#: It belongs to the source beside it, and is not compared with it (PEP 552).
UNCHECKED = (1).to_bytes(4, "little")

EPOCH = (1980, 1, 1, 0, 0, 0)


def with_bytecode(program: bytes, place: str) -> bytes:
    """Return the program with bytecode for this Python; tracebacks name the file at ``place``."""
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
                _add(archive, f"{name}c", _compiled(content, f"{place}/{name}"))
            _add(archive, name, content)
    return target.getvalue()


def _compiled(source: bytes, place: str) -> bytes:
    code = compile(source, place, "exec", dont_inherit=True)
    return MAGIC_NUMBER + UNCHECKED + source_hash(source) + marshal.dumps(code)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)
