"""A Hugging Face hub on loopback: what the library asks for to fetch and push a repository.

Every request is kept, so a test can say what was asked for; files that end in .safetensors take
the way of large files, which the real hub decides by their size.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Hub", "serving"]


class Hub:
    """Repositories by kind and name, each a list of commits: hash -> files."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.address = ""

    def commit(self, repo: str, files: dict[str, bytes]) -> str:
        """Adds a commit to `models/owner/name` or `datasets/owner/name`."""
        commits = self.commits.setdefault(repo, {})
        before = list(commits.values())[-1] if commits else {}
        digest = hashlib.sha1(repr((repo, len(commits), sorted(files))).encode()).hexdigest()
        commits[digest] = before | files
        return digest

    def at(self, repo: str, revision: str) -> str | None:
        """The commit that a revision names."""
        commits = self.commits.get(repo, {})
        if revision == "main":
            return list(commits)[-1] if commits else None
        return revision if revision in commits else None


class _Answers(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._find(body=False)

    def do_GET(self) -> None:
        self._find(body=True)

    def do_PUT(self) -> None:
        self.hub.large[self.path.removeprefix("/large/")] = self._body()
        self._answer(b"")

    def do_POST(self) -> None:
        body, hub = self._body(), self.hub
        hub.asked.append(f"POST {self.path}")
        if self.headers.get("authorization") != "Bearer secret":
            return self._json({"error": "Invalid credentials"}, 401)
        if self.path == "/api/repos/create":
            return self._json({"url": f"{hub.address}/{_repo(json.loads(body))}"})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
            modes = {True: "lfs", False: "regular"}
            files = [
                {
                    "path": file["path"],
                    "uploadMode": modes[file["path"].endswith(".safetensors")],
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{hub.address}/large/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        if found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            files = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
            digest = hub.commit(f"models/{found[1]}", files)
            return self._json({"commitUrl": f"{hub.address}/{found[1]}/commit/{digest}",
                               "commitOid": digest})  # fmt: skip
        return self._json({"error": "not found"}, 404)

    def _find(self, *, body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/((?:models|datasets)/.+?)(?:/revision/(.+))?", path):
            repo, revision = found[1], found[2] or "main"
            if tree := re.fullmatch(r"(.+)/tree/(\w+)", repo):
                files = self.hub.commits[tree[1]][tree[2]]
                return self._json(
                    [
                        {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                        for name, data in files.items()
                    ]
                )
            digest = self.hub.at(repo, revision)
            if digest is None:
                missing = "Revision" if repo in self.hub.commits else "Repo"
                return self._json(
                    {"error": "not found"}, 404, {"X-Error-Code": f"{missing}NotFound"}
                )
            return self._json({"id": repo.partition("/")[2], "sha": digest, "siblings": []})
        if found := re.fullmatch(r"/(datasets/)?(.+)/resolve/(\w+)/(.+)", path):
            repo = f"{found[1] or 'models/'}{found[2]}"
            data = self.hub.commits[repo][found[3]].get(found[4])
            if data is not None:
                head = {"X-Repo-Commit": found[3], "ETag": f'"{_oid(data)}"'}
                if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
                    first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
                    self.hub.asked[-1] += f" {first}-{last}"
                    head["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
                    return self._answer(data[first : last + 1], 206, head, body=body)
                return self._answer(data, 200, head, body=body)
        return self._json({"error": "not found"}, 404)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _json(self, value: Any, status: int = 200, head: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json"}
        self._answer(json.dumps(value).encode(), status, {**kind, **(head or {})})

    def _answer(
        self, data: bytes, status: int = 200, head: dict[str, str] | None = None, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**(head or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(data)


def _repo(about: dict[str, str]) -> str:
    return f"{about['organization']}/{about['name']}"


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers at `address`."""
    hub = Hub()
    handler = type("Answers", (_Answers,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
