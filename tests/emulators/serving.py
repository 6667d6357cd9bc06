"""Serve one vendor's emulator, with its faults, on a free port of this machine."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from emulators.clock import Clock
from emulators.config import Config
from emulators.faults import FaultMiddleware, Faults
from emulators.store import Store
from emulators.world import World

KEYS = {"valyu": "val_emulated", "daytona": "dtn_emulated", "llm": "sk-emulated"}


@dataclass(frozen=True)
class Served:
    """A running emulator: its address below its prefix, and the world that steers it."""

    url: str
    world: World


@contextmanager
def serving(tmp_path, vendor: str, module: ModuleType) -> Iterator[Served]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    store = Store(tmp_path / f"{vendor}.db")
    config = Config(url, url, tmp_path, "", "", KEYS)
    world = World(config, store, Clock(store), Faults(store))
    vendor_app = FaultMiddleware(Starlette(routes=module.routes(world)), faults=world.faults, vendor=vendor)
    app = Starlette(routes=[Mount(f"/{vendor}", vendor_app)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Served(f"{url}/{vendor}", world)
    finally:
        server.should_exit = True
        thread.join()
        store.close()
        listener.close()
