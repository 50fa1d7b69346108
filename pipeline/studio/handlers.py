"""The requests of the page, each from what it sends along to what it shows.

C channels, R resolution.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from torch import Tensor

from pipeline.data.sandbox import Sandbox
from pipeline.studio.answers import Answers, Kept, png
from pipeline.studio.recipe import Recipe, packed
from pipeline.studio.refining import Refiner
from pipeline.studio.studio import Studio
from pipeline.studio.tunings import MAX_TUNING, Tunings
from pipeline.studio.uploads import (
    DECODERS,
    MAX_BYTES,
    MAX_PIXELS,
    MIN_SIDE,
    TYPES,
    Crop,
    read_upload,
)
from pipeline.studio.work import UPLOADS, BatchQueue, WorkQueue, body, uploading
from stylealae.errors import ConfigError

__all__ = ["Handlers", "StudioInfo"]

MAX_JSON = 1 << 20


@dataclass(frozen=True, kw_only=True)
class StudioInfo:
    """What a studio knows beyond its model."""

    name: str = ""
    """Of the model."""
    data: str = ""
    """A sentence on what it was trained on."""
    detector: str = ""
    """Finds faces in photos: NAME:FILE."""
    examples: Sequence[np.ndarray] = ()
    """Images to begin with, uint8 [C, R, R]."""


class Handlers:
    """Answers by request; what computes waits in queues."""

    def __init__(self, studio: Studio, about: StudioInfo, sandbox: Sandbox) -> None:
        self._studio, self._about, self._tunings = studio, about, Tunings(studio)
        self._answers = Answers(studio, self._tunings)
        self._queue, self._reading = BatchQueue(studio.at_once), WorkQueue(DECODERS)
        self._sandbox = sandbox
        self._refiner = Refiner(studio, self._queue, self._tunings)
        self._places = asyncio.Semaphore(UPLOADS)
        self._pictures, self._drafts = Kept(), Kept()

    async def model(self, _: Request) -> Response:
        """What the page is built from, and what it compares a photo with before it is cropped."""
        limits = {"max_bytes": MAX_BYTES, "max_pixels": MAX_PIXELS, "min_side": MIN_SIDE}
        names = {"name": self._about.name, "data": self._about.data}
        more = {**names, "aligns": bool(self._about.detector), **limits, "types": TYPES}
        return JSONResponse({**self._studio.about(), **more})

    async def examples(self, _: Request) -> Response:
        """Images to begin with, at the model's resolution."""
        return JSONResponse({"pictures": [_data_uri(planes) for planes in self._about.examples]})

    async def face(self, request: Request) -> Response:
        """The style of a photo."""
        planes, notes = await self._read(request)
        w, took = await self._queue.do(request, self._answers.encoded, _scaled(planes))
        found = {"w": w, "picture": _data_uri(planes), "notes": notes}
        return JSONResponse(found, headers=_timing(took))

    async def refine(self, request: Request) -> Response:
        """A style that is closer to a photo than E's, and the steps to it."""
        return await self._by_steps(request, self._refiner.refined)

    async def tune(self, request: Request) -> Response:
        """The same, and G tuned to the photo."""
        return await self._by_steps(request, self._refiner.tuned)

    async def give_tuning(self, request: Request) -> Response:
        """A tuning's file, given again: its name, and the style of its person."""
        async with uploading(self._places):
            data = await body(request, MAX_TUNING)
            name, tuning = await self._reading.do(request, lambda: self._tunings.keep(data))
        return JSONResponse({"tuned": name, "w": packed(tuning.w[0])})

    async def drop_tuning(self, request: Request) -> Response:
        """Nothing: a tuning whose page is closed is let go of."""
        self._tunings.forget(request.path_params["name"])
        return Response(status_code=204)

    async def picture(self, request: Request) -> Response:
        """The picture of a recipe."""
        given = await _json(request)
        recipe, draft = Recipe.parsed(given), given.get("draft") is True
        self._studio.require(recipe)  # also of a picture that is kept
        kept = self._drafts if draft else self._pictures
        form = "image/jpeg" if draft else "image/png"
        if (there := kept.get(recipe.address)) is not None:
            return Response(there, media_type=form, headers=_timing(0.0))
        paint = self._answers.drafts if draft else self._answers.pictures
        made, took = await self._queue.do(request, paint, recipe)
        kept.keep(recipe.address, made)
        return Response(made, media_type=form, headers=_timing(took))

    async def styles(self, request: Request) -> Response:
        """The styles that G is given for a recipe."""
        recipe = Recipe.parsed(await _json(request))
        made, took = await self._queue.do(request, self._answers.styles, recipe)
        return Response(made, media_type="application/octet-stream", headers=_timing(took))

    async def _by_steps(
        self, request: Request, lines: Callable[[Tensor], AsyncIterator[bytes]]
    ) -> Response:
        self._refiner.require_capacity()
        planes, _ = await self._read(request)
        return StreamingResponse(lines(_scaled(planes)), media_type="application/x-ndjson")

    async def _read(self, request: Request) -> tuple[np.ndarray, tuple[str, ...]]:
        """A photo as the input of E, and notes for the user.  -> uint8 [C, R, R]"""
        m, crop = self._studio.m, Crop.parsed(request.query_params)
        async with uploading(self._places):
            data = await body(request, MAX_BYTES)
            given = (data, m.resolution, m.model.channels, crop, self._about.detector)
            return await self._reading.do(request, lambda: self._sandbox.do(read_upload, *given))


async def _json(request: Request) -> dict[str, object]:
    try:
        given = json.loads(await body(request, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise ConfigError("the request is no JSON: reload the page") from error
    if not isinstance(given, dict):
        raise ConfigError("the request is no JSON object: reload the page")
    return given


def _timing(seconds: float) -> dict[str, str]:
    return {"server-timing": f"work;dur={1e3 * seconds:.0f}"}


def _scaled(planes: np.ndarray) -> Tensor:
    """uint8 -> float32 in [-1, 1]"""
    return torch.from_numpy(planes).float() / 127.5 - 1.0


def _data_uri(planes: np.ndarray) -> str:
    """A picture in the page's JSON.  uint8 [C, R, R]"""
    shown = np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)
    return f"data:image/png;base64,{base64.b64encode(png(shown)).decode()}"
