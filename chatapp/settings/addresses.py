"""What an address says: whether it is well formed, whether it is an origin, and whether it is on this machine."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse(url: str) -> SplitResult | None:
    """The parts of an http or https address; None where it is none, or its port or brackets are malformed."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in _DEFAULT_PORTS and parts.hostname and parts.port != 0
    except ValueError:  # what urlsplit says to "http://[::1" and to "http://host:port"
        return None
    return parts if well_formed and not any(c.isspace() for c in url) else None


def origin(parts: SplitResult) -> str | None:
    """`scheme://host` and the port, unless it is the scheme's own; None if there is more than that in the address.

    Browsers write origins like this, in small letters, and they are compared as text.
    """
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    own_port = parts.port in (None, _DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if own_port else f":{parts.port}")


def is_local(host: str) -> bool:
    """Whether the name or IP address is this machine's own: loopback or unspecified, in any spelling."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _ip_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and (address.is_loopback or address.is_unspecified)


def same_server(one: SplitResult, other: SplitResult) -> bool:
    """Whether both addresses reach the same port of the same machine."""
    ports = [parts.port or _DEFAULT_PORTS[parts.scheme] for parts in (one, other)]
    first, second = one.hostname or "", other.hostname or ""
    return ports[0] == ports[1] and (first == second or (is_local(first) and is_local(second)))


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:  # the old spellings that connecting understands as well: 127.1, 2130706433, 0x7f.1
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None
