"""Which files of a folder of rules count: none that is hidden, and none in a hidden folder.

Editors leave such files (`.#rules.yaml`, `.rules.yaml.swp`), and a Kubernetes volume keeps in `..2026_11_21/` what its
visible names lead to: read twice, every rule would be there twice. Of such a volume a visible name may be a link to a
folder, too, so links are followed.
"""

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

HIDDEN = (".", "#", "lost+found")  # the last is an ext4 volume's own, for root alone


def visible(folder: Path, pattern: str = "*", onerror: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """What is under a folder, at any depth, and matches; in no order. A link that leads back up is not followed.

    Whoever gives `onerror` is told of folders that cannot be listed, as by os.walk.
    """
    reached_through: dict[Path, frozenset[tuple[int, int]]] = {}  # by a folder still to come: it is in none of these
    for at, folders, files in os.walk(folder, onerror=onerror, followlinks=True):
        names = [name for name in (*folders, *files) if not name.startswith(HIDDEN)]
        yield from (Path(at, name) for name in names if fnmatchcase(name, pattern))
        above = reached_through.pop(Path(at), frozenset()) | _identity(Path(at))
        folders[:] = [name for name in folders if name in names and not _identity(Path(at, name)) <= above]
        reached_through |= {Path(at, name): above for name in folders}


def unread(folder: Path) -> list[tuple[Path, str]]:
    """What under a folder may hold files and cannot be looked into, each with the reason.

    A folder that this process may not open, and a link without a suffix that leads nowhere.
    """
    errors: list[OSError] = []
    found = [(at, "the link leads nowhere") for at in visible(folder, onerror=errors.append) if _is_loose(at)]
    return sorted([*found, *((Path(one.filename), one.strerror or "unreadable") for one in errors)])


def _is_loose(path: Path) -> bool:
    return not path.suffix and path.is_symlink() and not path.exists()


def _identity(folder: Path) -> frozenset[tuple[int, int]]:
    """What a folder is, by whichever name; nothing when it cannot be looked at."""
    try:
        status = folder.stat()
    except OSError:
        return frozenset()
    return frozenset({(status.st_dev, status.st_ino)})
