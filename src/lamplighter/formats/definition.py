"""Domain definitions: reads from an xl.cfg the name, UUID, kind, and start and stop policy.

Everything else is left to xl. What xl reads, too, is read as xl 4.17 and 4.20 read it: a kind may
be abbreviated, a UUID is exactly eight, four, four, four and twelve hexadecimal digits, and
``uuid`` or ``type`` given as a list is ignored. Of that, three things are refused that xl accepts:
a name that no listing can show, and the name and the UUID (all zeros) of the control domain.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from lamplighter.errors import DefinitionError
from lamplighter.formats import policy_values
from lamplighter.formats.policy_values import InvalidValue
from lamplighter.formats.suggest import did_you_mean
from lamplighter.formats.xlcfg import XlConfig, as_text
from lamplighter.model.domain import EMPTY, NAMELESS, Definition, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lamplighter.model.policy import Setting
    from lamplighter.model.problem import Location

#: In xl's order: an abbreviation means the first kind that begins with it.
_TYPES = {"hvm": Kind.HVM, "pv": Kind.PV, "pvh": Kind.PVH}
_BUILDERS = {"hvm": Kind.HVM, "generic": Kind.PV}

#: The name of dom0 in every toolstack: names are unique, so no other domain can have it.
CONTROL_DOMAIN = "Domain-0"

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

#: Parameters of a definition, the policy keys that they set, and what reads their values.
_SETTINGS: dict[str, tuple[str, Callable[[object, Location], Setting[Any]]]] = {
    "on_xend_start": ("start", policy_values.xend_start),
    "on_xend_stop": ("stop", policy_values.xend_stop),
}

#: Parameters of a definition and the policy keys they set.
PARAMETERS = {parameter: key for parameter, (key, _) in _SETTINGS.items()}


class Reading(NamedTuple):
    """What could be read of one definition.

    ``name`` is None when the file states no usable name. ``definition`` is None when ``name`` is,
    or when its start or stop setting cannot be understood: then the policy is not known. Any of
    ``errors`` forbids starting the domain.
    """

    name: str | None
    definition: Definition | None = None
    settings: Mapping[str, Setting[Any]] = EMPTY
    errors: tuple[DefinitionError, ...] = ()


def read_definition(config: XlConfig) -> Reading:
    """Read a parsed file; never raises: a bad value is among the errors."""
    errors: list[DefinitionError] = []
    name = uuid = kind = None
    try:
        name = _name(config)
    except DefinitionError as error:
        errors.append(error)
    text, where = config.text("uuid"), config.where("uuid")
    if text is not None and not _UUID.fullmatch(text):
        message = f"uuid: expected 8-4-4-4-12 hexadecimal digits, not {policy_values.shown(text)}"
        errors.append(_error(message, where, "uuidgen prints a new one"))
    elif text is not None:
        uuid = UUID(text) if UUID(text).int else None
        if uuid is None:
            message = "uuid: all zeros is the control domain's UUID"
            errors.append(_error(message, where, "uuidgen prints a new one"))
    try:
        kind = _abbreviated(config, "type", _TYPES)
        builder = _abbreviated(config, "builder", _BUILDERS)
        if None not in (kind, builder) and kind is not builder:
            message = "type and builder contradict each other"
            hint = "builder is xl's old parameter: leave it out"
            raise _error(message, config.where("builder"), hint)
        kind = kind or builder
    except DefinitionError as error:
        errors.append(error)
        kind = None
    stated: dict[str, Setting[Any]] = {}
    misread: list[DefinitionError] = []
    for parameter, (key, read) in _SETTINGS.items():
        if parameter in config.values:
            value, where = config.values[parameter], config.where(parameter)
            try:
                stated[key] = read(value if isinstance(value, list) else as_text(value), where)
            except InvalidValue as error:
                misread.append(_error(f"{parameter}: {error.message}", where, error.hint))
    definition = None
    if name is not None and not misread:
        definition = Definition(
            name, uuid, kind or Kind.PV, config.file, config.values, config.locations
        )
    return Reading(name, definition, stated, (*errors, *misread))


def _name(config: XlConfig) -> str:
    name = config.text("name")
    where = config.where("name")
    if name is None:
        if "name" in config.values:
            raise _error("name: expected a string, not a list", where, 'write name = "..."')
        raise _error("the definition states no name", where, 'add a line name = "..."')
    if not name:
        raise _error("name: expected a string that is not empty", where)
    if not name.isprintable():
        shown = policy_values.shown(name)
        hint = "use letters, digits and punctuation, in UTF-8"
        raise _error(f"name: {shown} holds characters that cannot be shown", where, hint)
    if name != name.strip() or name == NAMELESS:
        message = f"name: {policy_values.shown(name)} cannot be told from another in xl's listing"
        raise _error(message, where, f"take the blanks around it away; {NAMELESS} means no name")
    if name == CONTROL_DOMAIN:
        raise _error(f"name: {name} is the control domain's", where, "give it a name of its own")
    return name


def _abbreviated(config: XlConfig, key: str, words: Mapping[str, Kind]) -> Kind | None:
    text = config.text(key)
    if text is None:
        return None
    for word, kind in words.items():
        if word.startswith(text):
            return kind
    message = f"{key}: expected {policy_values.listed(words)}, not {policy_values.shown(text)}"
    raise _error(message, config.where(key), did_you_mean(text, words))


def _error(message: str, where: Location, hint: str = "") -> DefinitionError:
    return DefinitionError(
        message, where=where.file, line=where.line, column=where.column, hint=hint
    )
