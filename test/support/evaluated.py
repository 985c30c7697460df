"""`dgss evaluate` from the command line, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dgss_core.cli import main


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(['evaluate', '--backend', 'onnxruntime', *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / 'results.json').read_text())
