"""An object store on this host: a moto server, and before it a proxy that can misbehave.

with bucket() as b:
    b.upload(folder, "s3://faces/set")
    b.misbehave = lambda request: 503 if ... else None
"""

import http.client
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
from moto.server import ThreadedMotoServer

Fault = int | str | bytes | None
"""A status to answer, `reset` or `stall` in the middle of the answer, or another body."""


class Bucket:
    """The proxy's address, what it has served, and how it is to misbehave."""

    def __init__(self, backend: tuple[str, int]) -> None:
        self.backend = backend
        self.served: list[tuple[str, str, int]] = []
        self.misbehave: Callable[[str, str], Fault] = lambda method, path: None
        self.stall_s, self.delay_s = 3.0, 0.0
        self.conditional = True
        """Whether a condition of a put arrives; an old s3fs sends none, some stores know none."""
        self.bytes_per_s = 0
        """How fast a body leaves; 0: at once."""
        self.url = ""

    def upload(self, folder: Path, url: str) -> None:
        """Put a folder there, in place of what is there."""
        fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        fs.mkdirs(path.split("/")[0], exist_ok=True)
        if fs.exists(path):
            fs.rm(path, recursive=True)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and ".prepare" not in file.parts:
                fs.put_file(str(file), f"{path}/{file.relative_to(folder)}")

    def bytes_of(self, suffix: str) -> int:
        """How many bytes of files named so were served."""
        return sum(n for method, path, n in self.served if method == "GET" and suffix in path)


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = self.rfile.read(length)
            fault = bucket.misbehave(self.command, self.path)
            time.sleep(bucket.delay_s)
            if isinstance(fault, int):
                return self._answer(fault, {}, b"")
            link = http.client.HTTPConnection(*bucket.backend)
            headers = dict(self.headers)
            if not bucket.conditional:
                headers.pop("If-None-Match", None)
            link.request(self.command, self.path, content, headers)
            answer = link.getresponse()
            body = answer.read()
            kept = {k: v for k, v in answer.getheaders() if k.lower() in KEPT}
            if self.command == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            link.close()
            bucket.served.append((self.command, self.path, len(body)))
            self._answer(answer.status, kept, body, fault)
            return None

        def _answer(
            self, status: int, headers: dict[str, str], body: bytes, fault: Fault = None
        ) -> None:
            if isinstance(fault, bytes) and self.command != "HEAD":
                body = fault
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if isinstance(fault, str):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if fault == "stall":
                    time.sleep(bucket.stall_s)
                self.close_connection = True
                self.connection.close()
                return
            rate = bucket.bytes_per_s
            for at in range(0, len(body), rate or len(body)):
                self.wfile.write(body[at : at + (rate or len(body))])
                time.sleep(1.0 if rate else 0.0)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._serve)
    return Handler


KEPT = {"content-type", "etag", "last-modified", "content-range", "accept-ranges"}


@contextmanager
def bucket(address: str = "127.0.0.1") -> Iterator[Bucket]:
    """A running store, served at an address of this host; s3fs finds it by AWS_ENDPOINT_URL."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    found = Bucket(moto.get_host_and_port())
    proxy = ThreadingHTTPServer((address, 0), _handler(found))
    proxy.daemon_threads = True
    proxy.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients are killed
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://{address}:{proxy.server_port}"
    settings = {
        "AWS_ENDPOINT_URL": found.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # they ask a store that is gone
    try:
        yield found
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        proxy.shutdown()
        proxy.server_close()
        moto.stop()
