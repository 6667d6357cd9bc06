"""The least that can stand for Polar: it counts the events of a request, says that all were new, and keeps nothing.

`python -m benchmarks.billing.sink <port>`. It costs next to nothing, so that what is measured in front of it is ours.
"""

from __future__ import annotations

import asyncio
import sys

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_KEY = b'"external_id":'


class Sink(asyncio.Protocol):
    """One connection: requests with a length, one after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer once a request is complete."""
        self._received += data
        head = self._received.find(_END)
        if head < 0:
            return
        named = bytes(self._received[:head]).lower()
        length = int(named.split(_LENGTH)[1].split(b"\r\n")[0]) if _LENGTH in named else 0
        if len(self._received) < head + len(_END) + length:
            return
        count = self._received.count(_KEY, head)
        self._received.clear()
        body = b'{"inserted":%d,"duplicates":0}' % count
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                              % (len(body), body))


async def serve(port: int) -> None:
    """Answer on loopback until cancelled."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
