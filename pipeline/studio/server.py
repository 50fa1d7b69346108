"""The studio's web server: the page's requests, each answered from what it sends along.

Nothing of a photo is kept between requests, so nobody sees another's faces; pictures of seeds are,
for a while, and tunings while their page asks.  One thread computes what waits in a bounded queue,
several pictures together; photos are decoded in processes of their own.
"""

import socket
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.data.sandbox import Sandbox
from pipeline.studio.connections import MAX_CONNECTIONS, BoundedProtocol
from pipeline.studio.guard import Access, Guard, sentence
from pipeline.studio.handlers import Handlers, StudioInfo
from pipeline.studio.studio import Studio
from pipeline.studio.uploads import decoders
from pipeline.studio.work import RefusedError
from stylealae.errors import ConfigError, DataError, UserError

__all__ = ["app_of", "listening", "serve"]

PAGE = Path(__file__).parent / "page"


def app_of(
    studio: Studio,
    about: StudioInfo | None = None,
    *,
    access: Access | None = None,
    sandbox: Sandbox | None = None,
) -> Starlette:
    """The studio as an ASGI application; without an access it is this machine's users'."""
    answers = Handlers(studio, about or StudioInfo(), sandbox or decoders())

    async def page(_: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def openapi(_: Request) -> Response:
        return FileResponse(PAGE / "openapi.json")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/openapi.json", openapi),
            Route("/api/model", answers.model),
            Route("/api/examples", answers.examples),
            Route("/api/face", answers.face, methods=["POST"]),
            Route("/api/refine", answers.refine, methods=["POST"]),
            Route("/api/tune", answers.tune, methods=["POST"]),
            Route("/api/tunings", answers.give_tuning, methods=["POST"]),
            Route("/api/tunings/{name}", answers.drop_tuning, methods=["DELETE"]),
            Route("/api/picture", answers.picture, methods=["POST"]),
            Route("/api/styles", answers.styles, methods=["POST"]),
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
    studio: Studio, on: socket.socket, access: Access, about: StudioInfo, sandbox: Sandbox
) -> None:
    """Answers until Ctrl-C."""
    config = uvicorn.Config(
        app_of(studio, about, access=access, sandbox=sandbox),
        log_level="warning", access_log=False, server_header=False, lifespan="off", ws="none",
        http=BoundedProtocol, limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=2,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has answered what was asked, and raises it again
        uvicorn.Server(config).run(sockets=[on])


async def _sentence(_: Request, error: Exception) -> Response:
    photo = isinstance(error, DataError)
    status = error.status if isinstance(error, RefusedError) else 422 if photo else 400
    answer = sentence(status, f"This photo cannot be used: {error}." if photo else f"{error}.")
    if status == 503:
        answer.headers["retry-after"] = "1"
    return answer


async def _fault(_: Request, error: Exception) -> Response:
    return sentence(
        500,
        f"something went wrong in the studio ({type(error).__name__}); its terminal tells more.",
    )
