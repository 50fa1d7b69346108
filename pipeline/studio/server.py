"""The studio's web server: four requests of the page, each answered from what it sends along.

Nothing is kept between requests, so nobody sees another's faces.  One thread computes, and requests
wait for it in a bounded queue; photos are decoded in processes of their own.
"""

import asyncio
import base64
import io
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.data.sandbox import Sandbox
from pipeline.studio.connections import MAX_CONNECTIONS, BoundedProtocol
from pipeline.studio.guard import Access, Guard, sentence
from pipeline.studio.recipe import Recipe, packed
from pipeline.studio.studio import Studio
from pipeline.studio.uploads import MAX_BYTES, Crop, read_upload
from pipeline.studio.work import UPLOADS, RefusedError, WorkQueue, body, uploading
from stylealae.errors import ConfigError, DataError, UserError

__all__ = ["app_of", "listening", "serve"]

PAGE = Path(__file__).parent / "page"
MAX_JSON = 1 << 20
DECODERS, DECODE_S, DECODE_MIB = 2, 10.0, 2048
"""Photos that are decoded at the same time, and what each may take."""


def app_of(
    studio: Studio,
    *,
    access: Access | None = None,
    about: str = "",
    data: str = "",
    detector: str = "",
) -> Starlette:
    """The studio as an ASGI application; without an access it is this machine's users'.

    `about` names the model, `data` is a sentence on what it was trained on, `detector` finds faces
    in photos, as NAME:FILE.
    """
    m = studio.m
    queue, reading = WorkQueue(), WorkQueue(DECODERS)
    sandbox = Sandbox(DECODERS, limit_s=DECODE_S, memory_mib=DECODE_MIB)
    places = asyncio.Semaphore(UPLOADS)

    async def page(_: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def openapi(_: Request) -> Response:
        return FileResponse(PAGE / "openapi.json")

    async def model(_: Request) -> Response:
        more = {"name": about, "data": data, "aligns": bool(detector), "max_bytes": MAX_BYTES}
        return JSONResponse({**studio.about(), **more})

    async def face(request: Request) -> Response:
        crop = Crop.parsed(request.query_params)
        async with uploading(places):
            data = await body(request, MAX_BYTES)
            (planes, notes), _ = await reading.do(
                request,
                lambda: sandbox.do(
                    read_upload, data, m.resolution, m.model.channels, crop, detector
                ),
            )
        shown = base64.b64encode(_png(_shown(planes))).decode()
        x = torch.from_numpy(planes).float() / 127.5 - 1.0  # [C, R, R] in [-1, 1]
        w, took = await queue.do(request, lambda: packed(studio.encode(x)))
        picture = f"data:image/png;base64,{shown}"
        return JSONResponse({"w": w, "picture": picture, "notes": notes}, headers=took)

    async def picture(request: Request) -> Response:
        given = await _json(request)
        recipe, draft = Recipe.parsed(given), given.get("draft") is True
        encode = _jpeg if draft else _png
        made, took = await queue.do(request, lambda: encode(studio.paint(recipe, draft=draft)))
        return Response(made, media_type="image/jpeg" if draft else "image/png", headers=took)

    async def styles(request: Request) -> Response:
        recipe = Recipe.parsed(await _json(request))
        made, took = await queue.do(request, lambda: _npy(studio.compose(recipe)[0].cpu().numpy()))
        return Response(made, media_type="application/octet-stream", headers=took)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/openapi.json", openapi),
            Route("/api/model", model),
            Route("/api/face", face, methods=["POST"]),
            Route("/api/picture", picture, methods=["POST"]),
            Route("/api/styles", styles, methods=["POST"]),
            Mount("/static", StaticFiles(directory=PAGE)),
        ],
        middleware=[Middleware(Guard, access=access or Access())],
        exception_handlers={UserError: _sentence, Exception: _fault},
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        ConfigError: it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except (OSError, OverflowError) as error:
        found.close()
        raise ConfigError(
            f"cannot listen on {host}, port {port} ({error}): name another with --port, or 0 for "
            "any free one"
        ) from error
    return found


def serve(
    studio: Studio,
    on: socket.socket,
    access: Access,
    *,
    about: str = "",
    data: str = "",
    detector: str = "",
) -> None:
    """Answers until Ctrl-C."""
    config = uvicorn.Config(
        app_of(studio, access=access, about=about, data=data, detector=detector),
        log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none",
        http=BoundedProtocol, limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=2,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has answered what was asked, and raises it again
        uvicorn.Server(config).run(sockets=[on])


async def _json(request: Request) -> dict[str, object]:
    try:
        given = json.loads(await body(request, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise ConfigError("the request is no JSON: reload the page") from error
    if not isinstance(given, dict):
        raise ConfigError("the request is no JSON object: reload the page")
    return given


async def _sentence(_: Request, error: Exception) -> Response:
    photo = isinstance(error, DataError)
    status = error.status if isinstance(error, RefusedError) else 422 if photo else 400
    return sentence(status, f"This photo cannot be used: {error}." if photo else f"{error}.")


async def _fault(_: Request, error: Exception) -> Response:
    return sentence(
        500,
        f"something went wrong in the studio ({type(error).__name__}); its terminal tells more.",
    )


def _shown(planes: np.ndarray) -> np.ndarray:
    """[C, R, R] -> [R, R, 3]"""
    return np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)


def _png(picture: np.ndarray) -> bytes:
    return _encoded(picture, "PNG", compress_level=3)


def _jpeg(picture: np.ndarray) -> bytes:
    return _encoded(picture, "JPEG", quality=92, subsampling=0)


def _encoded(picture: np.ndarray, form: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, form, **how)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
