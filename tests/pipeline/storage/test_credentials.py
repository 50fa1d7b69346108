"""Credentials of a host's role, of a metadata service like EC2's that misses questions."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

import fsspec

from pipeline.storage import filesystem, object_store, open_storage
from tests.pipeline.storage.bucket import bucket

ROLE = {
    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "test", "SecretAccessKey": "test",
    "Token": "test", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2999-01-01T00:00:00Z",
}  # fmt: skip


@contextmanager
def metadata_service(misses: int) -> Iterator[str]:
    """The address of a service that answers each question only after so many."""
    asked: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self._answer("token")

        def do_GET(self) -> None:
            of_the_role = self.path.endswith("/worker")
            self._answer(json.dumps(ROLE) if of_the_role else "worker")

        def _answer(self, text: str) -> None:
            asked[self.path] = asked.get(self.path, 0) + 1
            self.send_response(200 if asked[self.path] > misses else 503)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_metadata_service_that_misses_questions_is_asked_again(tmp_path: Path) -> None:
    with (
        bucket(),
        metadata_service(misses=3) as address,
        pytest.MonkeyPatch.context() as patch,
    ):
        fs, _ = fsspec.core.url_to_fs("s3://roles", use_listings_cache=False)
        fs.mkdirs("roles", exist_ok=True)
        fs.clear_instance_cache()  # its keys are those of the test
        patch.setattr(object_store, "SPOOL", tmp_path / "spool")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", *filesystem.METADATA):
            patch.delenv(name, raising=False)
        for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "BOTO_CONFIG"):
            patch.setenv(name, str(tmp_path / "none"))
        patch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        run = open_storage("s3://roles/some/run", 20.0)
        assert run.names() == []
        assert run.create("one", b"mine")
        fs.clear_instance_cache()
