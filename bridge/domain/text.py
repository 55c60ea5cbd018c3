"""Text that can be kept. In: any text of the outside world; out: what both databases take."""


def storable(text: str) -> str:
    """The text without what some database refuses: NUL (PostgreSQL), and half a surrogate pair, which has no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
