"""Azure's blob storage on this host: azurite from npm, which the real adlfs talks to.

with azurite() as env:  os.environ.update(env); open_storage("az://runs/some/run")
"""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "build/azurite"
"""Where `npm install --prefix build/azurite azurite` puts it."""
CONTAINER = "runs"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Not a secret: the name and the key that are azurite's own, printed in its manual."""
START_S = 60.0


def program() -> str | None:
    """The command that starts it, if it is installed."""
    installed = FOLDER / "node_modules/.bin/azurite-blob"
    return str(installed) if installed.exists() else shutil.which("azurite-blob")


@contextmanager
def azurite() -> Iterator[Mapping[str, str]]:
    """A running store with an empty container; what adlfs finds it by, for the environment."""
    command = program()
    assert command, "no azurite: npm install --prefix build/azurite azurite"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [command, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder,
             "--silent", "--skipApiVersionCheck", "--disableTelemetry"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _await(port, process)
            connection = (
                f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
            )
            _make(connection)
            yield {"AZURE_STORAGE_CONNECTION_STRING": connection}
        finally:
            process.terminate()
            process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError("azurite does not start")


def _make(connection: str) -> None:
    """An empty container."""
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(connection) as client:
        client.create_container(CONTAINER)
