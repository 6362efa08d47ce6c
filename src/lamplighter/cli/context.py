"""What every command is given: where the configuration is, and where and how to answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lamplighter.cli.output.text import printable
from lamplighter.errors import OutputError
from lamplighter.host.files.reading import read_configuration, salvage_configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.errors import ConfigurationError, LamplighterError
    from lamplighter.model.policy import Configuration

#: Where the configuration is when neither option nor environment names another place.
DEFAULT_CONFIG = Path("/etc/lamplighter/lamplighter.toml")

#: The environment variable that names the configuration.
CONFIG_VARIABLE = "LAMPLIGHTER_CONFIG"


@dataclass
class Context:
    """The world of one command.

    ``explicit`` says that option or environment named ``config_path``: then it must exist, while
    the default file may be missing and then counts as empty. What a script reads goes to
    ``out``; progress, warnings and errors go to ``err``.
    """

    config_path: Path
    explicit: bool
    as_json: bool
    out: TextIO
    err: TextIO
    environ: Mapping[str, str] = field(default_factory=dict)

    def configuration(self) -> Configuration:
        """Read and parse the configuration; raise ``ConfigurationError``."""
        return read_configuration(self.config_path, required=self.explicit)

    def sound_configuration(self) -> tuple[Configuration, ConfigurationError | None]:
        """What is sound of the configuration, and what is wrong with it."""
        return salvage_configuration(self.config_path, required=self.explicit)

    def print(self, text: str = "") -> None:
        """Print a line of the answer; raise ``BrokenPipeError`` or ``OutputError``."""
        try:
            self.out.write(f"{text}\n")
            self.out.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"the answer cannot be written: {error.strerror}") from error

    def print_json(self, document: object) -> None:
        """Print the one JSON document of this command; raise as ``print`` does."""
        self.print(json.dumps(document, indent=2, ensure_ascii=False))

    def warn(self, text: str) -> None:
        """Say something beside the answer; a standard error that is gone stops nothing."""
        told = "\n".join(printable(line) for line in text.split("\n"))
        try:
            self.err.write(f"lamplighter: {told}\n")
            self.err.flush()
        except (OSError, ValueError):
            return

    def warn_of(self, error: LamplighterError) -> None:
        """Say what went wrong beside the answer, and what to do about it."""
        self.warn(error.message + (f"\n  {error.hint}" if error.hint else ""))

    def warn_interrupted(self) -> None:
        """Say that the command ended before it did anything, or after it had done all."""
        self.warn("interrupted\n  lamplighter status shows where each domain is")
