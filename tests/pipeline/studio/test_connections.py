"""The studio's server goes on answering, whoever holds connections open."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipeline.studio import connections
from pipeline.studio.connections import BoundedProtocol
from pipeline.studio.server import listening


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits for heads half a second and takes four connections of an address."""
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setattr(connections, "PER_ADDRESS", 4)
    on = listening("127.0.0.1", 0)
    config = uvicorn.Config(
        Starlette(routes=[Route("/", hello)]), http=BoundedProtocol, log_level="error",
        lifespan="off", ws="none",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [on]})
    thread.start()
    yield on.getsockname()[1]
    server.should_exit = True
    thread.join()
    on.close()


def asked(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed, or does within half a minute."""
    connection.settimeout(30)
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_who_sends_no_head_is_disconnected(port: int) -> None:
    silent = socket.create_connection(("127.0.0.1", port))
    dripping = socket.create_connection(("127.0.0.1", port))
    dripping.sendall(b"GET / HTTP/1.1\r\nHost: local")
    assert ended(silent)
    assert ended(dripping)
    assert asked(port) == "hello"


def test_after_an_answer_the_next_head_is_waited_for_as_long(port: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    got = b""
    while not got.endswith(b"hello"):
        got += connection.recv(1000)
    connection.sendall(b"GET / HTT")
    assert ended(connection)


def test_an_address_has_so_many_connections_and_no_more(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    time.sleep(0.1)
    assert ended(socket.create_connection(("127.0.0.1", port)))
    for connection in held:
        connection.close()
    until = time.monotonic() + 30
    while BoundedProtocol.open_of and time.monotonic() < until:
        time.sleep(0.02)
    assert asked(port) == "hello"
