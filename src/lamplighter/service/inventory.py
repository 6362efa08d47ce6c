"""The files to a ``Inventory``: which domains there are, what policy says, and what is wrong.

A definition that cannot be used costs nobody else anything: it becomes a ``Problem`` that bars the
domain it names, as far as its name can be read at all. What is read from a file that others can
write is believed only where no trustworthy file says anything: such a file cannot bar, rename or
start anybody else's domain.

Where two definitions claim one name, neither is in the roster: policy is not known. Where two of
different names claim one UUID, both are barred and known by their names alone, so that whichever
runs is still stopped as its own definition says.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from lamplighter.engine.policy import manage, settle
from lamplighter.errors import DefinitionError
from lamplighter.formats import xlcfg
from lamplighter.formats.definition import Reading, read_definition
from lamplighter.formats.policy_values import nearest
from lamplighter.host.files.reading import read_definitions
from lamplighter.model.policy import Inventory
from lamplighter.model.problem import Location, Problem
from lamplighter.toolstacks.choose import is_embedded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from lamplighter.host.files.reading import Text
    from lamplighter.host.files.trust import Distrust
    from lamplighter.model.policy import Configuration, ManagedDomain

ONE_EACH = "each domain needs a definition, a name and a UUID of its own"


class _Claim(NamedTuple):
    """One file's claim to be the definition of a domain."""

    text: Text
    reading: Reading
    where: Location

    @property
    def name(self) -> str:
        return self.reading.name or ""


def definition_owner(configuration: Configuration) -> int:
    """Return the user, besides root, who may own definitions: who runs an embedded host."""
    return os.geteuid() if is_embedded(configuration) else 0


def load_inventory(configuration: Configuration, *, owner: int) -> Inventory:
    """Read all definitions; ``owner`` is the user, besides root, who may own them.

    Never raises for what a file is or holds: that is among the roster's problems.
    """
    texts, problems = read_definitions(configuration.host.definitions, owner)
    claims = [_claim(text) for text in texts]
    trusted = [claim for claim in claims if not claim.text.distrust]
    names = {claim.name for claim in trusted}
    for claim in claims:
        if claim.text.distrust:
            problems.append(_distrusted(claim, claim.text.distrust, names))
        else:
            problems += [_definition_problem(claim, error) for error in claim.reading.errors]
    usable, duplicates = _without_duplicates(trusted)
    problems += duplicates
    domains = {
        claim.name: manage(configuration, claim.reading.definition, claim.reading.settings)
        for claim in sorted(usable, key=lambda claim: claim.name)
        if claim.reading.definition is not None
    }
    defaults = settle(configuration)
    problems += _tables_without_definition(configuration, {claim.name for claim in claims})
    problems += _refused_suspends(configuration, domains)
    named = {name: settle(configuration, name) for name in configuration.domains}
    return Inventory(domains, defaults, tuple(problems), named)


def _claim(text: Text) -> _Claim:
    """Read one definition; of a broken one, at least its name."""
    try:
        config = xlcfg.parse(text.text, text.path)
    except DefinitionError as error:
        salvaged = xlcfg.parse_valid_parts(text.text, text.path)
        reading = Reading(read_definition(salvaged).name, errors=(error,))
        return _Claim(text, reading, salvaged.where("name"))
    return _Claim(text, read_definition(config), config.where("name"))


# --- problems --------------------------------------------------------------------------------


def _distrusted(claim: _Claim, distrust: Distrust, trusted_names: set[str]) -> Problem:
    path = claim.text.path
    message = f"refused: {distrust.reason if distrust.path == path else distrust}"
    bars = claim.name if claim.name not in trusted_names else ""
    return Problem("permissions", message, Location(path), bars or None, distrust.hint)


def _definition_problem(claim: _Claim, error: DefinitionError) -> Problem:
    where = Location(error.file or claim.text.path, error.line, error.column)
    return Problem(error.code, error.problem, where, claim.reading.name, error.hint)


def _without_duplicates(claims: Iterable[_Claim]) -> tuple[list[_Claim], list[Problem]]:
    """Leave out what shares its name; take the UUID from what shares that only."""
    by_name: defaultdict[str, list[_Claim]] = defaultdict(list)
    by_uuid: defaultdict[UUID, list[_Claim]] = defaultdict(list)
    for claim in claims:
        if claim.name:
            by_name[claim.name].append(claim)
    usable: list[_Claim] = []
    problems: list[Problem] = []
    for name, same in by_name.items():
        if len(same) == 1:
            usable += same
        problems += _shared(same, "duplicate-name", f"the name {name}")
    for claim in usable:
        if claim.reading.definition is not None and claim.reading.definition.uuid is not None:
            by_uuid[claim.reading.definition.uuid].append(claim)
    ambiguous = {uuid for uuid, same in by_uuid.items() if len(same) > 1}
    for uuid in ambiguous:
        problems += _shared(by_uuid[uuid], "duplicate-uuid", f"the UUID {uuid}")
    return [_known_by_name(claim, ambiguous) for claim in usable], problems


def _shared(claims: list[_Claim], code: str, what: str) -> list[Problem]:
    """One problem for each of several claims that share what only one may have."""
    problems: list[Problem] = []
    for claim in claims:
        others = [str(other.where) for other in claims if other is not claim]
        if others:
            message = f"{what} is also used by {', '.join(others)}"
            problems.append(Problem(code, message, claim.where, claim.name, ONE_EACH))
    return problems


def _known_by_name(claim: _Claim, ambiguous: set[UUID]) -> _Claim:
    definition = claim.reading.definition
    if definition is None or definition.uuid not in ambiguous:
        return claim
    reading = claim.reading._replace(definition=definition._replace(uuid=None))
    return claim._replace(reading=reading)


def _tables_without_definition(configuration: Configuration, names: set[str]) -> list[Problem]:
    problems: list[Problem] = []
    for name, table in configuration.domains.items():
        if name not in names:
            first = next(iter(table.values()), None)
            where = first.origin if first else Location(configuration.file, key=f"domain.{name}")
            message = f"[domain.{name}] speaks of a domain of which there is no definition"
            hint = nearest(name, names) or "correct the name, or add its file to definitions"
            problems.append(Problem("no-definition", message, where, name, hint, fatal=False))
    return problems


def _refused_suspends(
    configuration: Configuration,
    domains: dict[str, ManagedDomain],
) -> list[Problem]:
    """Say once for each place where suspend is asked for that it is refused."""
    hint = 'say "shutdown", "leave" or "destroy"'
    problems: list[Problem] = []
    default = configuration.defaults.get("stop")
    if default is not None and default.note:
        problems.append(
            Problem("suspend-refused", default.note, default.origin, None, hint, fatal=False)
        )
    for name, managed in domains.items():
        stop = managed.policy.stop
        if stop.note and stop != default:
            problems.append(
                Problem("suspend-refused", stop.note, stop.origin, name, hint, fatal=False)
            )
    return problems
