"""Which files of a folder of rules count: none that is hidden, and none in a hidden folder.

Editors leave such files (`.#rules.yaml`, `.rules.yaml.swp`), and a Kubernetes volume keeps in `..2026_11_21/` what its
visible names lead to: read twice, every rule would be there twice.
"""

from collections.abc import Iterator
from pathlib import Path

HIDDEN = (".", "#")


def visible(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """What is under a folder, at any depth, and matches; in no order."""
    for path in folder.rglob(pattern):
        if not any(part.startswith(HIDDEN) for part in path.relative_to(folder).parts):
            yield path
