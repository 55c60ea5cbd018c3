"""Which files of a folder of rules count: none that is hidden, and none in a hidden folder.

Editors leave such files (`.#rules.yaml`, `.rules.yaml.swp`), and a Kubernetes volume keeps in `..2026_11_21/` what its
visible names lead to: read twice, every rule would be there twice. Of such a volume a visible name may be a link to a
folder, too, so links are followed.
"""

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

HIDDEN = (".", "#")


def visible(folder: Path, pattern: str = "*") -> Iterator[Path]:
    """What is under a folder, at any depth, and matches; in no order. A link that leads back up is not followed."""
    reached_through: dict[Path, frozenset[tuple[int, int]]] = {}  # by a folder still to come: it is in none of these
    for at, folders, files in os.walk(folder, followlinks=True):
        names = [name for name in (*folders, *files) if not name.startswith(HIDDEN)]
        yield from (Path(at, name) for name in names if fnmatchcase(name, pattern))
        above = reached_through.pop(Path(at), frozenset()) | _identity(Path(at))
        folders[:] = [name for name in folders if name in names and not _identity(Path(at, name)) <= above]
        reached_through |= {Path(at, name): above for name in folders}


def _identity(folder: Path) -> frozenset[tuple[int, int]]:
    """What a folder is, by whichever name; nothing when it cannot be looked at."""
    try:
        status = folder.stat()
    except OSError:
        return frozenset()
    return frozenset({(status.st_dev, status.st_ino)})
