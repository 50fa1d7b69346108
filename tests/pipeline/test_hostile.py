"""Files of strangers that ask for too much are refused with a sentence, before they have had it.

Each is opened in a process that may take 512 MiB and, of the processor, two seconds; who waits at a
pipe instead of refusing it waits until the test's own patience ends.
"""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from pipeline.config import parse
from pipeline.data.decoding import decode
from pipeline.data.format.manifest import Manifest
from pipeline.data.sandbox import Sandbox
from pipeline.data.sources.registry import open_source
from pipeline.storage import data_storage, open_storage
from pipeline.storage.publish import MANIFEST, write_manifest
from stylealae.errors import UserError

PATIENCE_S, MIB, CPU_S = 60.0, 512, 2.0
Make = Callable[[Path], object]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    found = Sandbox(limit_s=PATIENCE_S, memory_mib=MIB)
    yield found
    found.close()


def refused(make: Make, folder: Path) -> tuple[str, float]:
    """The sentence of a refusal, and the processor's seconds that it took."""
    since = sum(os.times()[:2])
    try:
        make(folder)
    except UserError as error:
        return str(error), sum(os.times()[:2]) - since
    return "", 0.0


def a_pipe(name: str, folder: Path) -> None:
    os.mkfifo(folder / name)
    open_source(str(folder / name))


def a_device(name: str, folder: Path) -> None:
    (folder / name).symlink_to("/dev/zero")
    open_source(str(folder / name))


def a_pipe_among_tars(folder: Path) -> None:
    os.mkfifo(folder / "00000.tar")
    open_source(str(folder), "tar")


def a_manifest(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text)
    Manifest.read(data_storage(str(folder)))


def a_manifest_that_is_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / MANIFEST)
    Manifest.read(data_storage(str(folder)))


def a_shard_that_is_a_device(folder: Path) -> None:
    (folder / "x").symlink_to("/dev/zero")
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "sha256": {"x": "0"}}))
    from pipeline.training.snapshots import snapshot

    (folder / "0004").mkdir()
    (folder / "0004/snapshot").symlink_to(folder)
    snapshot(open_storage(folder), 0)


def a_checkpoint(state: str, folder: Path) -> None:
    from pipeline.training.checkpoints import every

    checkpoint = folder / "0004/seen-0000000010"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text(state)
    write_manifest(checkpoint)
    every(open_storage(folder))


def a_model(config: str, folder: Path) -> None:
    from stylealae.families import load

    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60))
    load(folder)


def a_zip_of(size: int, folder: Path, claimed: int = 0) -> None:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.png", bytes(size))
    if claimed:
        held = (folder / "x.zip").read_bytes()
        held = held.replace(struct.pack("<I", size), struct.pack("<I", claimed))
        (folder / "x.zip").write_bytes(held)
    open_source(str(folder / "x.zip")).read(0, 32)


def a_png(side: int, _: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(side), 9)  # fewer than are claimed
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    decode(b"\x89PNG\r\n\x1a\n" + parts, 3)


def a_plain_picture(form: str, _: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (5000, 5000)).save(stream, form)
    decode(stream.getvalue(), 3)


def many_scans(_: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (3000, 3000)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    scan = data[data.rfind(b"\xff\xda") : -2]
    decode(data[:-2] + scan * 2000 + data[-2:], 3)


def a_config(text: str, _: Path) -> None:
    parse(text)


ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP = "[" * 100_000
DIGITS = "9" * 100_000
CASES: dict[str, tuple[Make, str]] = {
    "a pipe as a tar": (partial(a_pipe, "x.tar"), "a pipe or a device"),
    "a pipe as a zip": (partial(a_pipe, "x.zip"), "a pipe or a device"),
    "a device as a tar": (partial(a_device, "x.tar"), "a pipe or a device"),
    "a device as a table": (partial(a_device, "x.parquet"), "a pipe or a device"),
    "a pipe among tars": (a_pipe_among_tars, "no regular file"),
    "a pipe as a manifest": (a_manifest_that_is_a_pipe, "no regular file"),
    "a device in a snapshot": (a_shard_that_is_a_device, "no regular file"),
    "a deep manifest": (partial(a_manifest, DEEP), "recursion"),
    "a manifest of a huge number": (partial(a_manifest, f'{{"format": {DIGITS}}}'), "digits"),
    "a deep checkpoint": (partial(a_checkpoint, DEEP), "torn"),
    "a checkpoint of a huge number": (partial(a_checkpoint, f'{{"seen": {DIGITS}}}'), "torn"),
    "a checkpoint of text": (partial(a_checkpoint, '{"stage": "x", "seen": []}'), "torn"),
    "a checkpoint of another stage": (
        partial(a_checkpoint, '{"stage": 1, "seen": 10}'), "is of 0008/seen-0000000010"
    ),
    "a deep model": (partial(a_model, DEEP), "recursion"),
    "a model of a huge number": (partial(a_model, f'{{"format": {DIGITS}}}'), "digits"),
    "a zip that inflates": (partial(a_zip_of, 301 << 20), "bytes, more than"),
    "a zip that lies": (partial(a_zip_of, 301 << 20, claimed=1000), "cannot be"),
    "a PNG that claims": (partial(a_png, 9000), "a decompression bomb"),
    "a PNG that claims all": (partial(a_png, 60_000), "a decompression bomb"),
    "a plain GIF": (partial(a_plain_picture, "GIF"), "a decompression bomb"),
    "a plain WebP": (partial(a_plain_picture, "WEBP"), "a decompression bomb"),
    "a JPEG of many scans": (many_scans, "scans"),
    "aliases of aliases": (partial(a_config, ALIASES), "limit of 10000"),
    "a deep config": (partial(a_config, f"a: {DEEP}"), "nested too deep"),
    "a deep config of lines": (partial(a_config, "- " * 100_000), "nested too deep"),
    "a config of a huge number": (partial(a_config, f"seed: {DIGITS}"), "100,000 characters"),
    "a long config": (partial(a_config, "# \n" * 400_000), "characters"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_within_two_seconds_and_512_mib(
    name: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    make, said = CASES[name]
    sentence, seconds = sandbox.do(refused, make, tmp_path)
    assert sentence
    assert said in sentence
    assert seconds < CPU_S
