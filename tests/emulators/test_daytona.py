"""The emulated sandboxes: the SDK's requests as they were recorded, and its own types' reading of the answers."""

import base64
import json
import os
import re
import struct
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import httpx
import pytest
from daytona import AsyncDaytona, CreateSandboxFromSnapshotParams, DaytonaConfig, ListSandboxesQuery
from daytona.common.charts import BarChart, LineChart, PieChart, ScatterChart
from daytona.common.errors import DaytonaAuthenticationError, DaytonaNotFoundError
from daytona_toolbox_api_client_async.exceptions import ApiException

from emulators import daytona
from tests.emulators.serving import Served, serving

RECORDED = Path(os.environ.get("CONTRACTS_DIR", "../shared/contracts")) / "recorded/daytona-requests.json"
KEY = {"authorization": "Bearer dtn_emulated"}


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path, "daytona", daytona) as running:
        yield running


def sdk(served: Served, key: str = "dtn_emulated") -> AsyncDaytona:
    return AsyncDaytona(DaytonaConfig(api_key=key, api_url=f"{served.url}/api", target="local"))


def params(**more) -> CreateSandboxFromSnapshotParams:
    return CreateSandboxFromSnapshotParams(
        labels={"chat": "c1"}, network_block_all=True, auto_stop_interval=5, auto_delete_interval=0, ttl_minutes=30,
        **more,
    )


@pytest.mark.skipif(not RECORDED.exists(), reason=f"the recorded requests are not at {RECORDED} (CONTRACTS_DIR)")
@pytest.mark.parametrize("case", ["create_run_delete", "matplotlib_chart", "code_error", "code_timeout"])
def test_every_recorded_request_is_answered_as_it_was(served: Served, case: str) -> None:
    calls = [call for call in json.loads(RECORDED.read_text())[case]["calls"] if "socket.io" not in call["path"]]
    sandbox_id = ""
    for call in calls:
        path = call["path"]
        if call["method"] != "POST" or "/toolbox/" in path:
            recorded_id = path.split("/")[2 if "/toolbox/" in path else 3]
            path = path.replace(recorded_id, sandbox_id)
        answer = httpx.request(call["method"], served.url + path, json=call["body"], headers=KEY, timeout=10)
        assert answer.status_code == call["status"], call["path"]
        recorded = call["response"] if isinstance(call["response"], dict) else None
        if path == "/api/sandbox":
            sandbox_id = answer.json()["id"]
            assert set(recorded) <= set(answer.json())
            assert {name: answer.json()[name] for name in call["body"] if name in recorded} == {
                name: value for name, value in call["body"].items() if name in recorded
            }
        elif "/toolbox/" in path and recorded and "exitCode" in recorded:
            assert answer.json()["exitCode"] == recorded["exitCode"]
            assert answer.json()["result"].splitlines()[-1] == recorded["result"].splitlines()[-1]
        elif "/toolbox/" in path and recorded:
            assert answer.json() == recorded
    assert calls[-1]["method"] == "DELETE"
    assert httpx.get(f"{served.url}/api/sandbox/{sandbox_id}", headers=KEY).status_code == 404


@pytest.mark.skipif(not RECORDED.exists(), reason=f"the recorded requests are not at {RECORDED} (CONTRACTS_DIR)")
async def test_the_installed_sdk_still_sends_the_recorded_requests(served: Served) -> None:
    recorded = [c for c in json.loads(RECORDED.read_text())["create_run_delete"]["calls"] if "socket" not in c["path"]]
    seen: list[dict] = []

    async def note(_session, _context, sent: aiohttp.TraceRequestStartParams) -> None:
        seen.append({"method": sent.method, "path": sent.url.path, "sent": dict(sent.headers), "body": None})

    async def note_body(_session, _context, sent: aiohttp.TraceRequestChunkSentParams) -> None:
        seen[-1]["body"] = json.loads(sent.chunk)

    client = sdk(served)
    await _traced(client, note, note_body)
    sandbox = await client.create(params())
    await sandbox.process.code_run("print(1+1)", timeout=10)
    await client.delete(sandbox)
    await client.close()
    assert [call["method"] for call in seen] == [call["method"] for call in recorded]
    for call, before in zip(seen, recorded, strict=True):
        assert _shape(call["path"].removeprefix("/daytona")) == _shape(before["path"])
        assert call["body"] == before["body"]
        same = ("User-Agent", "X-Daytona-Source", "X-Daytona-SDK-Version", "Content-Type")
        assert {name: call["sent"][name] for name in same} == {name: before["headers"][name] for name in same}


async def test_the_sdk_creates_finds_runs_stops_and_deletes(served: Served) -> None:
    client = sdk(served)
    sandbox = await client.create(params())
    assert (await sandbox.process.code_run("print(1 + 1)", timeout=10)).result == "2\n"
    found = [box async for box in client.list(ListSandboxesQuery(labels={"chat": "c1"}, limit=1))]
    assert [box.id for box in found] == [sandbox.id]
    assert [box async for box in client.list(ListSandboxesQuery(labels={"chat": "c2"}))] == []
    assert (await client.get(sandbox.id)).state == "started"
    await client.delete(sandbox)
    with pytest.raises(DaytonaNotFoundError):
        await client.get(sandbox.id)
    await client.close()


async def test_a_stopped_sandbox_that_is_kept_can_be_started_again(served: Served) -> None:
    client = sdk(served)
    sandbox = await client.create(CreateSandboxFromSnapshotParams(auto_delete_interval=-1))
    await sandbox.stop()
    with pytest.raises(ApiException) as caught:
        await sandbox.process.code_run("print(1)")
    assert caught.value.status == 409
    await sandbox.start()
    assert (await sandbox.process.code_run("print(1)")).exit_code == 0
    await client.close()


async def test_lists_are_paged(served: Served) -> None:
    client = sdk(served)
    ids = [(await client.create(params())).id for _ in range(3)]
    assert [box.id async for box in client.list(ListSandboxesQuery(limit=2))] == ids
    await client.close()


async def test_an_idle_sandbox_stops_and_is_deleted(served: Served) -> None:
    client = sdk(served)
    sandbox = await client.create(params())
    served.world.clock.advance(timedelta(minutes=4))
    assert (await client.get(sandbox.id)).state == "started"
    served.world.clock.advance(timedelta(minutes=2))
    with pytest.raises(DaytonaNotFoundError):
        await client.get(sandbox.id)
    await client.close()


async def test_a_wrong_key_is_refused(served: Served) -> None:
    client = sdk(served, key="no")
    with pytest.raises(DaytonaAuthenticationError):
        await client.create(params())
    await client.close()


@pytest.mark.parametrize(
    ("drawing", "kind", "elements"),
    [
        ("plt.plot([1, 2], [3, 4], 'r-', label='a')", LineChart, [("a", [[1, 3], [2, 4]])]),
        ("plt.scatter([1, 2], [3, 4], s=5)", ScatterChart, [("", [[1, 3], [2, 4]])]),
        ("plt.bar(['x', 'y'], [1, 2.5])", BarChart, [("x", "1"), ("y", "2.5")]),
        ("plt.pie([1, 3], labels=['x', 'y'])", PieChart, [("x", 90), ("y", 270)]),
        ("fig, ax = plt.subplots(figsize=(8, 5))\nax.plot([1], [2])\nax.set_title('T')", LineChart, [("", [[1, 2]])]),
    ],
)
async def test_a_chart_has_its_data_and_a_valid_picture(served: Served, drawing: str, kind: type, elements) -> None:
    client = sdk(served)
    sandbox = await client.create(params())
    code = f"import matplotlib.pyplot as plt\n{drawing}\nplt.title('T')\nplt.show()"
    [chart] = (await sandbox.process.code_run(code, timeout=10)).artifacts.charts
    await client.close()
    assert isinstance(chart, kind)
    assert chart.title == "T"
    assert [(e.label, e.points or e.value or e.angle) for e in chart.elements] == elements
    rows = _pixels(base64.b64decode(chart.png))
    assert len({rows[i : i + 3] for i in range(1, len(rows) - 3, 3)}) > 3


async def test_what_is_not_emulated_fails_as_a_missing_module_or_attribute(served: Served) -> None:
    client = sdk(served)
    sandbox = await client.create(params())
    programs = {"import numpy": "ModuleNotFoundError", "import matplotlib.pyplot as p\np.hist([1])": "hist"}
    for code, reason in programs.items():
        answer = await sandbox.process.code_run(code, timeout=10)
        assert answer.exit_code == 1
        assert reason in answer.result
    await client.close()


async def _traced(client: AsyncDaytona, note, note_body) -> None:
    """Have every request of the SDK's one HTTP session noted: a list call makes the session, then it gets a trace."""
    assert [box async for box in client.list()] == []
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    trace.on_request_chunk_sent.append(note_body)
    trace.freeze()
    client._shared_session.session._trace_configs.append(trace)


def _shape(path: str) -> str:
    """A path without its sandbox's id."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "{id}", path)


def _pixels(data: bytes) -> bytes:
    """The unpacked rows of a PNG; every part's checksum is verified."""
    at, packed = 8, b""
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + body)
        packed += body if name == b"IDAT" else b""
        at += 12 + length
    rows = zlib.decompress(packed)
    assert len(rows) == 400 * (1 + 640 * 3)
    return rows
