"""The studio's web server: four requests of the page, each answered from what it sends along.

Nothing is kept between requests, so nobody sees another's faces.  One thread computes; requests
wait for it in a bounded queue.
"""

import asyncio
import base64
import io
import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.faces.landmarks import Detector
from pipeline.studio.recipe import Recipe, packed
from pipeline.studio.studio import Studio
from pipeline.studio.uploads import MAX_BYTES, Crop, read_photo
from stylealae.errors import ConfigError, DataError, UserError
from stylealae.image_grid import to_uint8

__all__ = ["app_of", "listening", "serve"]

T = TypeVar("T")

PAGE = Path(__file__).parent / "page"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_JSON = 1 << 20
MAX_WAITING = 32
UPLOAD_S = 60
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class RefusedError(UserError):
    """A request that is answered with a sentence and this status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class WorkQueue:
    """The one thread that computes, and a bounded queue before it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="studio")
        self._waiting = 0

    async def do(self, work: Callable[[], T]) -> tuple[T, dict[str, str]]:
        """The result of `work`, and a header with the time that it took."""
        if self._waiting >= MAX_WAITING:
            raise RefusedError(
                503, "too many pictures are asked for at once: try again in a moment"
            )
        self._waiting += 1
        try:
            done, seconds = await asyncio.get_running_loop().run_in_executor(
                self._thread, _timed, work
            )
        finally:
            self._waiting -= 1
        return done, {"server-timing": f"work;dur={1e3 * seconds:.0f}"}


class SecurityMiddleware:
    """Adds the security headers; refuses other sites' requests and, on loopback, other hosts.

    The latter is what keeps a web page elsewhere from reading a local server (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        request = Request(scope)
        if self.local and (request.url.hostname or "") not in LOOPBACK:
            answer = _said(403, "this studio answers to localhost only: start it with --host to "
                           "open it to others")  # fmt: skip
            await answer(scope, receive, sealed)
        elif request.url.path.startswith("/api/") and _foreign(request):
            answer = _said(403, "this studio takes no requests from other sites")
            await answer(scope, receive, sealed)
        else:
            await self.app(scope, receive, sealed)


def app_of(
    studio: Studio, *, local: bool = True, about: str = "", find: Detector | None = None
) -> Starlette:
    """The studio as an ASGI application; `local` refuses every host name but localhost."""
    queue, m = WorkQueue(), studio.m

    async def page(_: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def model(_: Request) -> Response:
        more = {"name": about, "aligns": find is not None, "max_bytes": MAX_BYTES}
        return JSONResponse({**studio.about(), **more})

    async def face(request: Request) -> Response:
        data, crop = await _body(request, MAX_BYTES), Crop.parsed(request.query_params)

        def work() -> dict[str, object]:
            x, notes = read_photo(data, m.resolution, m.model.channels, crop, find)
            shown = base64.b64encode(_png(to_uint8(x[None])[0])).decode()
            picture = f"data:image/png;base64,{shown}"
            return {"w": packed(studio.encode(x)), "picture": picture, "notes": notes}

        answer, took = await queue.do(work)
        return JSONResponse(answer, headers=took)

    async def picture(request: Request) -> Response:
        given = await _json(request)
        recipe, draft = Recipe.parsed(given), given.get("draft") is True
        encode = _jpeg if draft else _png
        made, took = await queue.do(lambda: encode(studio.paint(recipe, draft=draft)))
        return Response(made, media_type="image/jpeg" if draft else "image/png", headers=took)

    async def styles(request: Request) -> Response:
        recipe = Recipe.parsed(await _json(request))
        made, took = await queue.do(lambda: _npy(studio.compose(recipe)[0].cpu().numpy()))
        return Response(made, media_type="application/octet-stream", headers=took)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/model", model),
            Route("/api/face", face, methods=["POST"]),
            Route("/api/picture", picture, methods=["POST"]),
            Route("/api/styles", styles, methods=["POST"]),
            Mount("/static", StaticFiles(directory=PAGE)),
        ],
        middleware=[Middleware(SecurityMiddleware, local=local)],
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
    studio: Studio, on: socket.socket, *, about: str = "", find: Detector | None = None
) -> None:
    """Answers until Ctrl-C."""
    local = on.getsockname()[0] in LOOPBACK
    config = uvicorn.Config(
        app_of(studio, local=local, about=about, find=find),
        log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none",
        limit_concurrency=128, timeout_graceful_shutdown=2,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has answered what was asked, and raises it again
        uvicorn.Server(config).run(sockets=[on])


async def _body(request: Request, limit: int) -> bytes:
    """What was sent, as far as it stays within bounds of size and time."""
    got = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_S):
            async for chunk in request.stream():
                got += chunk
                if len(got) > limit:
                    raise RefusedError(
                        413, f"it has more than {limit >> 20} MB: send a smaller one"
                    )
    except TimeoutError as error:
        raise RefusedError(
            408, f"it took more than {UPLOAD_S} seconds to send: try again"
        ) from error
    return bytes(got)


async def _json(request: Request) -> dict[str, object]:
    try:
        given = json.loads(await _body(request, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise ConfigError("the request is no JSON: reload the page") from error
    if not isinstance(given, dict):
        raise ConfigError("the request is no JSON object: reload the page")
    return given


def _foreign(request: Request) -> bool:
    """Whether a page of another site asks; a link to the studio may be followed from anywhere."""
    return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _said(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence[:1].upper() + sentence[1:]}, status)


async def _sentence(_: Request, error: Exception) -> Response:
    photo = isinstance(error, DataError)
    status = error.status if isinstance(error, RefusedError) else 422 if photo else 400
    return _said(status, f"This photo cannot be used: {error}." if photo else f"{error}.")


async def _fault(_: Request, error: Exception) -> Response:
    return _said(500, f"something went wrong in the studio ({type(error).__name__}); its terminal "
                 "tells more.")  # fmt: skip


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


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
