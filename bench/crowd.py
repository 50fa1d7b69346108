"""The studio under load: clients that edit and upload at once, then uploads that are held half way.

    python -m bench.crowd [SECONDS] [CLIENTS]

A real server in a process of its own answers at 32x32; the clients share the machine with it. What
is waited for says little on a machine with other work, whose load is printed too; the processor's
time that the server takes for a request says the same on any.
"""

import asyncio
import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.networks import build

SMALL = ModelConfig(resolution=32)
HELD, HELD_BYTES = 100, 19 << 20
UPLOAD_EVERY = 20
"""Pictures of a client between two of its photos."""


def memory_mib(pid: int) -> int:
    """What a process holds."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) >> 10 if found else 0


def processor_s(pid: int) -> float:
    """The processor's time that a process and its children have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [pid for task in tasks for pid in (task / "children").read_text().split()]
    return used + sum(processor_s(int(child)) for child in children)


@cache
def photo() -> bytes:
    """A JPEG of 600x800."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((800, 600)).save(stream, "JPEG")
    return stream.getvalue()


@cache
def tls() -> ssl.SSLContext:
    """One for all clients: each would read the certificates anew, in the time that is measured."""
    return ssl.create_default_context()


@dataclass
class Waits:
    """Of all clients together."""

    pictures_s: list[float] = field(default_factory=list)
    uploads_s: list[float] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)

    async def post(self, client: httpx.AsyncClient, path: str, **what: Any) -> httpx.Response:
        """A request that is timed and counted."""
        began = time.monotonic()
        answer = await client.post(path, **what)
        (self.uploads_s if path == "/api/face" else self.pictures_s).append(
            time.monotonic() - began
        )
        self.codes[answer.status_code] += 1
        return answer


async def visit(base: str, seconds: float, number: int, waits: Waits) -> None:
    """One client: a photo, slider after slider, now and then another photo, one after the other."""
    async with httpx.AsyncClient(base_url=base, timeout=120, verify=tls()) as client:
        face, i, until = {}, 0, time.monotonic() + seconds
        await asyncio.sleep(0.06 * number)  # nobody comes at the same moment
        while i == 0 or time.monotonic() < until:
            if i % UPLOAD_EVERY == 0:
                face = (await waits.post(client, "/api/face", content=photo())).json()
            i += 1
            recipe = {"face": {"w": face["w"]}, "amounts": {"pc1": 0.01 * i}, "draft": i % 4 > 0}
            await waits.post(client, "/api/picture", json=recipe)
            await asyncio.sleep(0.5 + 0.01 * (number % 10))  # a hand on a slider


async def crowd(base: str, seconds: float, clients: int) -> dict[str, Any]:
    """Times and status codes of all requests."""
    waits = Waits()
    await asyncio.gather(*(visit(base, seconds, i, waits) for i in range(clients)))
    p50, p95, most = np.quantile(waits.pictures_s, [0.5, 0.95, 1.0])
    return {
        "clients": clients, "load": [round(x, 1) for x in os.getloadavg()],
        "pictures": len(waits.pictures_s), "codes": dict(waits.codes),
        "p50_s": round(p50, 3), "p95_s": round(p95, 3), "max_s": round(most, 3),
        "uploads": len(waits.uploads_s),
        "uploads_p95_s": round(float(np.quantile(waits.uploads_s, 0.95)), 3),
    }  # fmt: skip


def hold(port: int, pid: int) -> int:
    """The most that the server holds while a hundred uploads stop half way, in MiB."""
    head = f"POST /api/face HTTP/1.1\r\nHost: localhost\r\nContent-Length: {HELD_BYTES}\r\n\r\n"
    held, most, part = [], 0, bytes(HELD_BYTES - 1000)
    for _ in range(HELD):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.settimeout(0.2)
        held.append(connection)
        with suppress(OSError):  # it is not read further
            connection.sendall(head.encode() + part)
        most = max(most, memory_mib(pid))
    for connection in held:
        connection.close()
    return most


def main(seconds: float = 20.0, clients: int = 50) -> None:
    """Prints what was found as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        w_mean = torch.zeros(2 * SMALL.blocks, SMALL.w_width)
        StyleALAE(build(SMALL), SMALL, w_mean, stage=SMALL.blocks - 1).save(Path(folder))
        server = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "studio", folder, "--port", "0"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline())
            assert found, "the studio did not start"
            base = f"http://localhost:{found[1]}"
            asyncio.run(crowd(base, 2, clients))  # what is loaded once is loaded
            before = memory_mib(server.pid)
            used = processor_s(server.pid)
            result = asyncio.run(crowd(base, seconds, clients))
            used = processor_s(server.pid) - used
            result["processor_ms_a_request"] = round(1e3 * used / sum(result["codes"].values()), 1)
            result |= {"mib_before": before, "mib_after": memory_mib(server.pid)}
            result["mib_with_uploads_held"] = hold(int(found[1]), server.pid)
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
