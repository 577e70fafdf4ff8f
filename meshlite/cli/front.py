"""What is said before the verb: which settings, and which server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Front:
    """Options of `meshlite` itself; None where not given."""

    config: Path | None = None
    server: str | None = None
    token_file: Path | None = None
