"""What a command prints on stderr: a UserError as one sentence, and no library's chatter."""

import errno
import logging
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TextIO, TypeVar

import click

from stylealae.errors import UserError, printable

__all__ = ["EXTRAS", "WIDTH", "folded", "lacking", "reporting", "reports_errors", "resumable"]
__all__ += ["show_error"]

P = ParamSpec("P")
R = TypeVar("R")

WIDTH = 80
"""Columns of sentences on a terminal, or as many as it has."""

EXTRAS = {
    "adlfs": "az",
    "cv2": "train",
    "deepspeed": "train",
    "dlib": "faces",
    "face_recognition_models": "faces",
    "gcsfs": "gs",
    "google_crc32c": "sources",
    "huggingface_hub": "hub",
    "imageio_ffmpeg": "tools",
    "lmdb": "sources",
    "matplotlib": "tools",
    "mlflow": "mlflow",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "pillow_heif": "heic",
    "psutil": "train",
    "pyarrow": "sources",
    "ray": "cluster",
    "s3fs": "s3",
    "simplejpeg": "train",
    "sklearn": "tools",
    "starlette": "demo",
    "tensorboard": "train",
    "uvicorn": "demo",
    "wandb": "wandb",
    "webdataset": "train",
}
"""Modules that not every installation has, and the extra of this package that brings them."""


def reporting(interrupted: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A command whose UserError becomes one sentence and exit code 1, and Ctrl-C exit code 130.

    Args:
        interrupted: what Ctrl-C leaves behind, where the command itself does not say.
    """

    def reports(command: Callable[P, R]) -> Callable[P, R]:
        @wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            _quiet()
            try:
                return command(*args, **kwargs)
            except UserError as error:
                show_error(error)
                sys.exit(1)
            except ModuleNotFoundError as error:
                if not (sentence := lacking(error)):
                    raise
                show_error(sentence)
                sys.exit(1)
            except PermissionError as error:  # of files that no one has looked at before
                show_error(
                    f"{error.filename}: {error.strerror}: mend the permissions, or name another"
                )
                sys.exit(1)
            except UnicodeEncodeError as error:
                show_error(
                    f"{error.object!r} cannot be a name in this locale, whose encoding is "
                    f"{error.encoding}: set LC_ALL=C.UTF-8 before the command"
                )
                sys.exit(1)
            except OSError as error:
                if isinstance(error, ConnectionError):  # a closed pipe
                    raise
                what = f"{error.filename or 'the output'}: {error.strerror}"
                show_error(f"{what if error.strerror else error}: {_mend(error)}")
                sys.exit(1)
            except MemoryError:
                show_error("the memory of this machine does not suffice: ask for less at a time")
                sys.exit(1)
            except KeyboardInterrupt as stop:
                click.secho(f"interrupted: {stop if stop.args else interrupted}", err=True)
                sys.exit(130)

        return wrapped

    return reports


def lacking(error: ModuleNotFoundError) -> str:
    """The sentence on a library that is not installed; empty for any other module."""
    if not (extra := EXTRAS.get(error.name or "")):
        return ""
    return (
        f"{error.name} is not installed; it comes with the extra {extra}: pip install "
        f"'stylealae[{extra}]', or in a clone pip install -c constraints.txt -e '.[{extra}]'"
    )


def _mend(error: OSError) -> str:
    """What may help."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there, or name another folder"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "let this shell have more open files (ulimit -n 4096)"
    return "mend that, or name another"


def show_error(error: object) -> None:
    """Prints a sentence on stderr."""
    click.secho(folded(f"error: {printable(error)}", sys.stderr), fg="red", err=True)


def folded(text: str, stream: TextIO) -> str:
    """Lines between words for a terminal; for a file or a pipe the text as it is."""
    if not stream.isatty():
        return text
    width = min(shutil.get_terminal_size().columns, WIDTH)
    return "\n".join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


reports_errors = reporting("nothing was written")
resumable = reporting("the same command goes on where it was")


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return folded(printable(super().format(record)), sys.stderr)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the time: under a bar, to the lines above it."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: object) -> None:
        pass


def _quiet() -> None:
    """Shows our own warnings and silences those of the libraries."""
    handler = _Stderr()
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    warnings.filterwarnings("ignore", category=FutureWarning)
