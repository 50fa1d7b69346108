"""Who may ask the studio: by host name, by origin and, beyond this machine, by a token.

A page elsewhere must not read a server on this machine by giving its own name this machine's
address (DNS rebinding), nor ask in the name of a visitor; and whoever reaches a port that is open
to others must know the token that the terminal shows in the studio's address.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "Access", "Guard", "sentence"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
COOKIE = "stylealae-studio-"
"""Its name ends in the port: browsers keep those of all ports of a host together."""
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may ask."""

    names: frozenset[str] = frozenset(LOOPBACK)
    """Host names that are answered to."""
    token: str = field(default="", repr=False)
    """What must be known; empty on this machine, whose users are trusted with each other."""

    @classmethod
    def on(cls, bound: str, allowed: Iterable[str] = ()) -> "Access":
        """For a server bound to an address, which is called by these names too."""
        names = frozenset(name.lower() for name in (*LOOPBACK, *allowed))
        if bound in LOOPBACK and not allowed:
            return cls(names)
        own = (bound, socket.gethostname().lower(), socket.getfqdn().lower())
        return cls(names | {*own}, secrets.token_urlsafe(24))

    def answers_to(self, host: str) -> bool:
        """Whether a request may call this server so; beyond this machine by any address too."""
        return host in self.names or (bool(self.token) and _is_address(host))

    def knows(self, given: str | None) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(self.token.encode(), (given or "").encode())


class Guard:
    """Refuses who may not ask, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

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

        answer = self._refusal(Request(scope)) or self.app
        await answer(scope, receive, sealed)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to who may not ask; to who brings the token, a cookie to keep it in."""
        host, port = _called(request.headers.get("host", ""))
        cookie = f"{COOKIE}{port or ''}"
        if not self.access.answers_to(host):
            return _refused(
                request,
                f"this studio does not answer to the name {host[:80]!r}: start it with --host to "
                "open it to others, with --allow-host for a name",
            )
        if _foreign(request):
            return _refused(request, "this studio takes no requests from other sites")
        if self.access.knows(request.cookies.get(cookie)):
            return None
        if self.access.knows(request.query_params.get("token")):
            path = "/" + request.url.path.lstrip("/")  # two slashes would lead to another host
            answer = RedirectResponse(path, 303)  # the token leaves the address bar
            answer.set_cookie(cookie, self.access.token, httponly=True, samesite="lax")
            return answer
        return _refused(request, "open the whole address that the studio's terminal shows, with "
                        "its token: it is asked for beyond the studio's own machine")  # fmt: skip


def sentence(status: int, text: str) -> Response:
    """An error as the page shows it."""
    return JSONResponse({"error": text[:1].upper() + text[1:]}, status)


def _refused(request: Request, text: str) -> Response:
    """The sentence as it is for a person who opens an address, as JSON for the page."""
    if "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse(f"{text[:1].upper()}{text[1:]}.", 403)
    return sentence(403, text)


def _foreign(request: Request) -> bool:
    """Whether a page of another site asks; a link to the studio may be followed from anywhere."""
    if request.method in ("GET", "HEAD") and not request.url.path.startswith("/api/"):
        return False
    origin = request.headers.get("origin")
    other = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    return other or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _called(header: str) -> tuple[str, int | None]:
    """The name and port of a Host header, without brackets."""
    try:
        called = urlsplit(f"//{header}")
        return (called.hostname or "").lower(), called.port
    except ValueError:
        return "", None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
