"""What the embedded host needs to know of a definition in order to create its domain.

As much of xl.cfg is looked at as matters for a domain's life: who it is, its memory, and what
``xl`` does when it has shut down. Kernels, disks and networks are not: no guest here has any.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lamplighter.embedded.guests.behaviour import read_profile
from lamplighter.errors import DefinitionError
from lamplighter.formats.definition import read_definition
from lamplighter.formats.xlcfg import XlConfig, as_text, parse, to_number
from lamplighter.model.domain import ShutdownReason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from lamplighter.embedded.guests.behaviour import GuestProfile
    from lamplighter.model.domain import Kind

#: What a domain gets that asks for no memory, as libxl has it, and the most there can be; in MiB.
DEFAULT_MEMORY = 32
MEMORY_MAX = 1 << 24


class Reaction(Enum):
    """What ``xl`` does with a domain that has shut down."""

    DESTROY = "destroy"
    RESTART = "restart"
    PRESERVE = "preserve"
    RENAME_RESTART = "rename-restart"


_REACTIONS = {
    **{reaction.value: reaction for reaction in Reaction},
    # No core is dumped: there is none.
    "coredump-destroy": Reaction.DESTROY,
    "coredump-restart": Reaction.RESTART,
}

#: The key that says it for each reason, and what is done when it does not.
_ON = {
    ShutdownReason.POWEROFF: ("on_poweroff", Reaction.DESTROY),
    ShutdownReason.REBOOT: ("on_reboot", Reaction.RESTART),
    ShutdownReason.CRASH: ("on_crash", Reaction.DESTROY),
    ShutdownReason.WATCHDOG: ("on_watchdog", Reaction.DESTROY),
}


@dataclass(frozen=True, slots=True)
class EmbeddedDefinition:
    """One definition, as far as it matters here. ``memory`` is in MiB."""

    path: str
    name: str
    uuid: UUID | None
    kind: Kind
    memory: int
    reactions: Mapping[ShutdownReason, Reaction]
    profile: GuestProfile


def read_embedded_definition(text: str, path: str) -> EmbeddedDefinition:
    """Read a definition's text; raise ``DefinitionError`` at what is wrong in it."""
    config = parse(text, path)
    reading = read_definition(config)
    if reading.errors:
        raise reading.errors[0]
    definition = reading.definition
    assert definition is not None, "a definition without errors has been read"
    return EmbeddedDefinition(
        path,
        definition.name,
        definition.uuid,
        definition.kind,
        _memory(config),
        {reason: _reaction(config, *said) for reason, said in _ON.items()},
        read_profile(config, definition.kind),
    )


def _memory(config: XlConfig) -> int:
    value = config.values.get("memory", DEFAULT_MEMORY)
    memory = None if isinstance(value, list) else to_number(as_text(value))
    if memory is None or not 1 <= memory <= MEMORY_MAX:
        raise _wrong(config, "memory", f"expected a number of MiB from 1 to {MEMORY_MAX}")
    return memory


def _reaction(config: XlConfig, key: str, otherwise: Reaction) -> Reaction:
    value = config.values.get(key)
    if value is None:
        return otherwise
    reaction = None if isinstance(value, list) else _REACTIONS.get(as_text(value))
    if reaction is None:
        raise _wrong(config, key, f"expected one of {', '.join(_REACTIONS)}")
    return reaction


def _wrong(config: XlConfig, key: str, message: str) -> DefinitionError:
    where = config.where(key)
    message = f"{key}: {message}"
    return DefinitionError(message, where=where.file, line=where.line, column=where.column)
