"""The commands as somebody types them: each a process, at one embedded host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.forked import LIMIT, run_forked

if TYPE_CHECKING:
    from pathlib import Path

LAMPLIGHTER = [sys.executable, "-m", "lamplighter"]


class Shell:
    """Types commands at one host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launcher: list[str] = []  # what runs the commands, if anything does
        self.environment = {
            **os.environ,
            "LAMPLIGHTER_CONFIG": str(folder / "lamplighter.toml"),
            "PYTHONUTF8": "1",
        }

    def type(self, *words: str, **others: Any) -> subprocess.CompletedProcess[str]:
        if not self.launcher and not others:
            return run_forked(words, self.environment)
        return subprocess.run(
            [*self.launcher, *LAMPLIGHTER, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            **others,
        )

    def ask(self, *words: str, status: int = 0) -> dict[str, Any]:
        ended = self.type("--json", *words)
        assert ended.returncode == status, (words, ended.stdout, ended.stderr)
        document: dict[str, Any] = json.loads(ended.stdout)
        return document

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; return once it has told of the first transition."""
        process = subprocess.Popen(
            [*self.launcher, *LAMPLIGHTER, *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        assert any("->" in line for line in process.stderr), "it ended before its first transition"
        return process


def outcomes(document: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["outcome"] for entry in document["domains"]}
