"""Files of strangers that ask for too much are refused with a sentence, before they have had it.

Each is opened in a process that may take 512 MiB and, of the processor, two seconds; who waits at a
pipe instead of refusing it waits until the test's own patience ends.
"""

import io
import json
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from pipeline.config import parse
from pipeline.data.decoding import decode
from pipeline.data.format.manifest import Manifest, data_storage
from pipeline.data.format.tar import members_in
from pipeline.data.sandbox import Sandbox
from pipeline.data.sources.registry import open_source
from pipeline.storage import open_storage
from pipeline.storage.publish import MANIFEST, write_manifest
from stylealae.errors import DataError, UserError

PATIENCE_S, MIB, CPU_S = 60.0, 512, 2.0
Make = Callable[[Path], object]
"""Makes a file and opens it; or returns what opens it, where the making itself takes long."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    found = Sandbox(limit_s=PATIENCE_S, memory_mib=MIB)
    yield found
    found.close()


def refused(make: Make, folder: Path) -> tuple[str, float]:
    """The sentence of a refusal, and the processor's seconds that it took."""
    since = sum(os.times()[:2])
    try:
        opens = make(folder)
        if callable(opens):
            since = sum(os.times()[:2])
            opens()
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


def a_zip_of(size: int, folder: Path, claimed: int = 0) -> Callable[[], object]:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.png", bytes(size))
    if claimed:
        held = (folder / "x.zip").read_bytes()
        held = held.replace(struct.pack("<I", size), struct.pack("<I", claimed))
        (folder / "x.zip").write_bytes(held)
    return lambda: open_source(str(folder / "x.zip")).read(0, 32)


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


def many_strips(_: Path) -> None:
    """A TIFF of 22,000 strips, each of them the same bytes."""
    wide, rows = 4000, 22_000
    tags = {
        256: (4, 1, wide), 257: (4, 1, rows), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
        273: (4, rows, 200), 277: (3, 1, 1), 278: (4, 1, 1), 279: (4, rows, 200 + 4 * rows),
    }  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in tags.items())
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    at = 200 + 8 * rows
    strips = struct.pack("<I", at) * rows + struct.pack("<I", wide) * rows
    decode(head.ljust(200, b"\0") + strips + bytes(wide), 3)


def an_eps(_: Path) -> None:
    decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n{} loop\n", 3)


def an_idx(folder: Path) -> None:
    claimed = bytes([0, 0, 8, 3]) + struct.pack(">III", (1 << 32) - 1, 28, 28)
    (folder / "train-images-idx3-ubyte").write_bytes(claimed + bytes(1000))
    open_source(str(folder))


def a_table(name: str, text: str, folder: Path) -> None:
    """Labels beside an image."""
    Image.new("L", (8, 8)).save(folder / "a.png")
    (folder / name).write_text(text)
    open_source(str(folder))


def a_broken_file(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)
    open_source(str(folder / name))


def _header(size: bytes) -> bytes:
    """Of a member of a tar that claims a size."""
    head = bytearray(tarfile.TarInfo("a.png").tobuf())
    head[124:136] = size
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:512]))
    return bytes(head)


def a_tar_of(size: bytes, folder: Path) -> None:
    a_broken_file("x.tar", _header(size) + bytes(10_240), folder)


def a_shard_of(size: bytes, _: Path) -> None:
    """A part of a tar of ours, likewise."""
    try:
        len(list(members_in(memoryview(_header(size) + bytes(1024)))))
    except ValueError as error:
        raise DataError(str(error)) from error


def a_pth(folder: Path) -> None:
    """A few kilobytes that ask for 10 GB."""
    import torch

    from stylealae.api import StyleALAE
    from tests.released import SMALL, checkpoint

    content = torch.load(checkpoint(SMALL, folder), weights_only=True)
    large = torch.ones(1, 1).expand(50_000, 50_000)
    content["models"]["mapping_fl_s"]["map_blocks.0.fc.weight"] = large
    torch.save(content, folder / "x.pth")
    StyleALAE.from_released(folder / "x.pth")


def a_snapshot(model: str, folder: Path) -> None:
    """A config that asks for more than its weights hold."""
    from stylealae.families import load

    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    weights = struct.pack("<Q", len(head)) + head + bytes(4)
    config = f'{{"format": 1, "stage": 0, "seen": 0, "model": {model}}}'
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(weights)
    load(folder)


def a_base_elsewhere(folder: Path) -> None:
    from pipeline.config import load

    (folder / "in").mkdir()
    (folder / "secret.yaml").write_text("seed: 1")
    (folder / "in/x.yaml").write_text("base: ../secret.yaml")
    load(folder / "in/x.yaml")


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
MINUS_512 = b"\xff" * 10 + b"\xfe\x00"
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
    "a TIFF of the same strips": (many_strips, "a decompression bomb"),
    "an EPS by another name": (an_eps, "PostScript"),
    "an IDX file that claims": (an_idx, "needs"),
    "a table of 65 MB": (partial(a_table, "labels.csv", "a.png,1\n" * (65 << 17)), "bytes"),
    "a deep table": (partial(a_table, "labels.json", DEEP), "recursion"),
    "a table of a huge number": (
        partial(a_table, "labels.json", f'{{"labels": [["a.png", {DIGITS}]]}}'), "digits"
    ),
    "a broken zip": (partial(a_broken_file, "x.zip", b"PK\3\4" + bytes(1000)), "zip"),
    "a broken Parquet": (
        partial(a_broken_file, "x.parquet", b"PAR1" + b"\xff" * 1000 + b"\xff\xff\xff\x7fPAR1"),
        "cannot be read as Parquet",
    ),
    "a TFRecord that claims": (
        partial(a_broken_file, "x-r02.tfrecords", struct.pack("<Q", 1 << 60) + bytes(100)), "record"
    ),
    "a tar that claims": (partial(a_tar_of, b"\x80" + b"\0" * 3 + b"\x7f" * 8), "cannot be read"),
    "a tar that claims less than nothing": (partial(a_tar_of, MINUS_512), "of -512 bytes"),
    "a shard that claims less than nothing": (partial(a_shard_of, MINUS_512), "of -512 bytes"),
    "a .pth that claims": (a_pth, "claim"),
    "a snapshot of wide layers": (partial(a_snapshot, '{"w_width": 65537}'), "the most is"),
    "a snapshot of many layers": (partial(a_snapshot, '{"mapping_layers": 257}'), "the most is"),
    "a snapshot of many pixels": (partial(a_snapshot, '{"resolution": 32768}'), "the most is"),
    "a config that looks around": (partial(a_config, "run_dir: ${oc.env:HOME}"), "${"),
    "a config of a base elsewhere": (a_base_elsewhere, "base"),
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
