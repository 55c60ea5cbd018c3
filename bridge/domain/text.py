"""Text that can be kept. In: any text of the outside world; out: what both databases take."""


def storable(text: str) -> str:
    """The text without what some database refuses: NUL (PostgreSQL), and half a surrogate pair, which has no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")


def storable_or_none(text: str | None) -> str | None:
    """The same of what may be missing."""
    return None if text is None else storable(text)
