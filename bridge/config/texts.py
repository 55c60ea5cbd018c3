"""The text of an operator's file, or a sentence on why there is none."""

from pathlib import Path

from bridge.domain.errors import ConfigError, Place, Problem


def text_in(path: Path, shown: str) -> str:
    """What a file of a folder holds, as UTF-8. Raises ConfigError; the file is named `shown` there.

    Reading a pipe or a device would wait for ever for whoever fills it.
    """
    if not is_text(shown):
        problem = Problem(place=Place(file=shown), message="the file's name is not UTF-8", hint="rename it")
        raise ConfigError([problem])
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise _unreadable(shown, "it is a pipe or a device", "take it out of this folder")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(shown, error.strerror or "unreadable") from error
    except UnicodeDecodeError as error:
        problem = Problem(place=Place(file=shown), message="the file is not UTF-8", hint="write it as UTF-8 text")
        raise ConfigError([problem]) from error


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: another one can be opened, and neither stored in a ledger nor sent anywhere."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def _unreadable(shown: str, why: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(place=Place(file=shown), message=f"the file cannot be read: {why}", hint=hint)])
