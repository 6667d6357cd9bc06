"""Bytes on the wire: a TCP forwarder between browser and server that counts what passes."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

_PIECE_BYTES = 65_536


class CountingForwarder:
    """Forwards `port` to `target` on loopback, in a thread of its own.

    Attributes:
        down_bytes: from the server to the browser so far: headers, framing and websocket included.
    """

    def __init__(self, port: int, target: int) -> None:
        self._port, self._target = port, target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forwarder", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self.down_bytes = 0

    def __enter__(self) -> CountingForwarder:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        # Both families: a browser may try "localhost" as ::1 first, and would wait before it tries the other.
        self._server = await asyncio.start_server(self._accept, ["127.0.0.1", "::1"], self._port)

    async def _close(self) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._up(reader, far_writer), self._down(far_reader, writer))
            finally:
                far_writer.close()
        except OSError:
            pass  # the server is not up yet, or one side has gone: the other is closed below
        except asyncio.CancelledError:
            pass  # the measurement is over; asyncio's server would log the cancellation of its own handler
        finally:
            writer.close()
            self._connections.discard(task)

    async def _up(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_PIECE_BYTES):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def _down(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_PIECE_BYTES):
            self.down_bytes += len(data)
            sink.write(data)
            await sink.drain()
        sink.close()
