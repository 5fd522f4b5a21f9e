"""What is seen of a namespace, over a real HTTP connection."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration

from infra.clusters import namespace
from infra.clusters.namespace import Namespace

POD = {"kind": "Pod", "metadata": {"uid": "1", "resourceVersion": "7"}}
EVENT = json.dumps({"type": "MODIFIED", "object": POD}).encode() + b"\n"


def test_a_line_that_cannot_be_read_does_not_end_the_watch_over_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespace, "SECONDS_AFTER_FAILURE", 0.01)
    answers = [b'{"type": "MODIFIED", "object"\xff\n', EVENT]

    async def listed(_: web.Request) -> web.Response:
        return web.Response(body=answers.pop(0) if answers else b"")

    async def seen() -> bool:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/roundhouse/pods", listed)
        runner: Any = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        at = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        async with ApiClient(at) as client:
            ours = Namespace(client, "roundhouse", UUID(int=1))
            watching = asyncio.create_task(ours.watch())
            change = asyncio.create_task(ours.changed.wait())
            await asyncio.wait([watching, change], timeout=10, return_when="FIRST_COMPLETED")
            watching.cancel()
        await runner.cleanup()
        return ours.changed.is_set()

    assert asyncio.run(seen())
