"""Addresses as bridge.yaml writes them: what they are, without asking anybody."""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def url_of(text: str) -> SplitResult | None:
    """The parts of an address; None when it cannot be one."""
    try:
        url = urlsplit(text)
        return url if url.port is None or url.port > 0 else None
    except ValueError:  # brackets of IPv6 or a port that are none
        return None


def is_web_address(url: SplitResult | None) -> bool:
    """Whether it is an http(s) address of a host, with nothing but a path behind it."""
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        return False
    return not (url.username or url.password or url.fragment)


def is_another_port(public_url: str, port: int) -> bool:
    """Whether links would lead to this machine and to a port that is not ours: of a `listen` that was moved alone."""
    url = url_of(public_url)
    return port != 0 and url is not None and is_loopback(url.hostname or "") and url.port not in (None, port)


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
