"""A Ray that is not there is missed within seconds, whatever listens in its place."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

pytest.importorskip("ray")

from pipeline.cluster import connection
from stylealae.errors import ConfigError

CLOSED = "127.0.0.1:1"


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """The address of a server that says this to whoever comes, and nothing more."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client, suppress(OSError):
                client.sendall(answer)
                client.recv(1 << 10)
                client.recv(1 << 10)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
    thread.join(5)


def refused(address: str) -> str:
    began = time.monotonic()
    with pytest.raises(ConfigError) as error, connection.connected(1, address):
        pass
    assert time.monotonic() - began < 20
    return str(error.value)


@pytest.mark.parametrize("address", [CLOSED, f"ray://{CLOSED}", "nonsense", "a:b"])
def test_an_address_that_dangles_is_named(address: str) -> None:
    said = refused(address)
    assert address in said
    assert "ray start --head" in said


def test_something_else_at_the_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert "something else listens there: it begins with b'HTTP/1.1 '" in refused(address)
    with listening(b"") as address:
        assert "it says nothing" in refused(address)


def test_auto_without_a_ray_on_this_host_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_there(_: str) -> str:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(connection.services, "canonicalize_bootstrap_address_or_die", none_there)
    assert "no Ray answers at auto (Could not find any running Ray" in refused("auto")
    monkeypatch.setattr(
        connection.services, "canonicalize_bootstrap_address_or_die", lambda _: CLOSED
    )
    assert f"no Ray answers at {CLOSED}" in refused("auto")


def test_a_cluster_that_auto_has_found_is_not_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its workers would meet in a file of the driver's host, which other hosts do not see."""
    asked: dict[str, str | None] = {}

    def found(_: str) -> str:
        asked["looking"] = os.environ.get("RAY_ADDRESS")
        return CLOSED

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr(connection.services, "canonicalize_bootstrap_address_or_die", found)
    monkeypatch.setattr(connection, "_require_answer", lambda address: None)
    monkeypatch.setattr(
        connection.ray, "init", lambda address, **options: asked.update(joined=address)
    )
    with connection.connected(1):
        assert not connection.is_own()
    assert asked == {"looking": None, "joined": CLOSED}


def test_local_is_a_ray_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert connection.is_own()
    assert connection.is_own("local")
    assert not connection.is_own("auto")


def test_a_ray_of_our_own_for_tasks_has_the_cores_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With none it would take no task, and whoever waits for one would wait for ever."""
    asked: list[int] = []
    monkeypatch.setattr(connection, "_start", lambda cores, folder, quiet: asked.append(cores))
    with connection.connected(0, "local"), connection.connected(3):
        assert asked == [len(os.sched_getaffinity(0)), 3]
