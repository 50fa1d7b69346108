"""Frames -> a video: .gif and .webp by Pillow, .mp4 and .webm by a video encoder."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from pipeline.data.pixels import Pixels
from stylealae.errors import ConfigError

__all__ = ["SUFFIXES", "write_video"]

SUFFIXES = (".gif", ".webp", ".mp4", ".webm")
_CODES = {".mp4": "mp4v", ".webm": "VP90"}


def write_video(frames: Sequence[Pixels], out: Path, fps: float) -> str:
    """Writes [R, R, 3] uint8 frames; the format that they were written in.

    An .mp4 is H.264, which browsers play, where imageio-ffmpeg is installed, else MPEG-4 part 2.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        suffix = out.suffix.lower()
        if suffix in (".gif", ".webp"):
            return _with_pillow(frames, out, fps)
        if suffix not in _CODES:
            raise ConfigError(f"{out} is no video: end it in {', '.join(SUFFIXES)}")
        return _with_ffmpeg(frames, out, fps) or _with_opencv(frames, out, fps)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error}") from error


def _with_pillow(frames: Sequence[Pixels], out: Path, fps: float) -> str:
    pictures = [Image.fromarray(frame) for frame in frames]
    duration = round(1000 / fps)
    if out.suffix.lower() == ".webp":
        pictures[0].save(out, save_all=True, append_images=pictures[1:], duration=duration,
                         loop=0, lossless=True)  # fmt: skip
        return "lossless WebP"
    strip = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 16)]))
    palette = strip.quantize(256, Image.Quantize.MEDIANCUT)  # one for all: no flicker
    plain = [p.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for p in pictures]
    plain[0].save(out, save_all=True, append_images=plain[1:], duration=duration, loop=0)
    return "GIF"


def _with_ffmpeg(frames: Sequence[Pixels], out: Path, fps: float) -> str:
    """By the encoder that imageio-ffmpeg brings; empty if that is missing, or for a .webm."""
    try:
        ffmpeg = importlib.import_module("imageio_ffmpeg")
    except ImportError:
        return ""
    if out.suffix.lower() != ".mp4":
        return ""
    big = list(_enlarged(frames))
    side = big[0].shape[1], big[0].shape[0]
    writer = ffmpeg.write_frames(str(out), side, fps=fps, codec="libx264", macro_block_size=2,
                                 ffmpeg_log_level="error", quality=9)  # fmt: skip
    writer.send(None)
    for frame in big:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    return "H.264"


def _with_opencv(frames: Sequence[Pixels], out: Path, fps: float) -> str:
    big = list(_enlarged(frames))
    code = _CODES[out.suffix.lower()]
    video = cv2.VideoWriter(
        str(out), cv2.VideoWriter.fourcc(*code), fps, (big[0].shape[1], big[0].shape[0])
    )
    if not video.isOpened():
        raise ConfigError(
            f"this OpenCV cannot write {out.suffix}: pip install imageio-ffmpeg, or name a .gif"
        )
    for frame in big:
        video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    video.release()
    return {"mp4v": "MPEG-4 part 2", "VP90": "VP9"}[code]


def _enlarged(frames: Sequence[Pixels]) -> Iterator[Pixels]:
    """At least 256 pixels wide, by whole factors: encoders blur colors of tiny pictures."""
    factor = max(1, -(-256 // frames[0].shape[0]))
    for frame in frames:
        yield frame.repeat(factor, 0).repeat(factor, 1)
