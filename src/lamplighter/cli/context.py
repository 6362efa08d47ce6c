"""The context that every command gets: its configuration, its streams and its environment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lamplighter.errors import OutputError
from lamplighter.host.files.reading import read_configuration, salvage_configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lamplighter.errors import ConfigurationError
    from lamplighter.model.policy import Configuration

#: The configuration when neither option nor environment names another one.
DEFAULT_CONFIG = Path("/etc/lamplighter/lamplighter.toml")

#: The environment variable that names the configuration.
CONFIG_VARIABLE = "LAMPLIGHTER_CONFIG"


@dataclass(eq=False, repr=False)
class Context:
    """The context of one command.

    ``explicit`` means that option or environment named ``config_path``: then it must exist, while
    the default file may be missing and then counts as empty. The answer, which scripts may read,
    goes to ``out``; progress and the log go to ``err``.
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

    def lenient_configuration(self) -> tuple[Configuration, ConfigurationError | None]:
        """Return the valid settings of the configuration, and the first error in it or None."""
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
