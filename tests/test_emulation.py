"""The emulators that the app starts by itself."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.emulation import emulators
from chatapp.settings import load
from tests.conftest import free_port, wait_until_healthy


async def test_the_emulators_run_while_the_app_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATORS_DATABASE", str(tmp_path / "emulators.db"))
    port = free_port()
    settings = replace(load({}), emulators_url=f"http://localhost:{port}")
    async with emulators(settings):
        wait_until_healthy(f"{settings.emulators_url}/health", seconds=1)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "they outlived the app"


async def test_a_port_that_another_program_uses_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATORS_DATABASE", str(tmp_path / "emulators.db"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        settings = replace(load({}), emulators_url=f"http://127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(RuntimeError, match=r"ended with code [1-9]\d* .*another program uses that port"):
            async with emulators(settings):
                pytest.fail("They cannot have started.")
