"""A stand-in of the Hugging Face Hub's HTTP API on the loopback, as far as `ouro push` uses it.

Written after huggingface_hub's own client (hf_api.py, _commit_api.py, lfs.py): repo info, create, validate-yaml,
preupload, LFS batch with the basic transfer, commit as NDJSON. Xet storage, which speaks a protocol of its own to
another server, is not here: large files go by LFS, for which a test sets HF_HUB_DISABLE_XET.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_test_token_0123456789"
_API = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(.*))?")
_BATCH = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    commits: list[str] = field(default_factory=list[str])


@dataclass
class Hub:
    """`small`: bytes of the largest file that goes with the commit itself.
    `refusals`: path of a request -> how often it is answered with which status instead, and what is said."""

    url: str = ""
    small: int = 10_000
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict[tuple[str, str], Repo])
    objects: dict[str, bytes] = field(default_factory=dict[str, bytes])  # of LFS, by SHA-256
    requests: list[str] = field(default_factory=list[str])
    uploads: list[str] = field(default_factory=list[str])  # SHA-256 of each LFS upload, also a repeated one
    refusals: dict[str, list[tuple[int, str]]] = field(default_factory=dict[str, list[tuple[int, str]]])


@contextmanager
def serve_hub() -> Generator[Hub]:
    """A hub without repositories whose user is "me"; `hub.url` is its address."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _blob_id(data: bytes) -> str:
    """Git's own: what the client compares with, to leave out what is there."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _make_handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None: ...

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            hub.requests.append(f"{self.command} {path}")
            for part, refusals in hub.refusals.items():
                if part in path and refusals:
                    status, text = refusals.pop(0)
                    return self._answer({"error": text}, status)
            if not path.startswith("/lfs/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._answer({"error": "Invalid credentials in Authorization header"}, 401,
                                    {"X-Error-Message": "Invalid credentials in Authorization header"})  # fmt: skip
            return self._dispatch(path, body)

        def _dispatch(self, path: str, body: bytes) -> None:
            if path == "/api/repos/create":
                return self._create(json.loads(body))
            if path == "/api/validate-yaml":
                return self._answer({"errors": [], "warnings": []})
            if path.startswith("/lfs/"):
                hub.objects[path.removeprefix("/lfs/")] = body
                hub.uploads.append(path.removeprefix("/lfs/"))
                return self._answer({})
            if _BATCH.fullmatch(path):
                return self._batch(json.loads(body))
            match = _API.fullmatch(path)
            repo = hub.repos.get((match[1], match[2])) if match else None
            if match is None or repo is None:
                return self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            action = (match[3] or "").split("/")[0]
            if action == "preupload":
                return self._preupload(repo, json.loads(body))
            if action == "commit":
                return self._commit(repo, match[2], body)
            return self._answer({"id": match[2], "private": repo.private, "sha": "0" * 40, "siblings": [], "tags": []})

        def _create(self, wanted: dict[str, Any]) -> None:
            key = wanted.get("type", "model"), f"{wanted['organization']}/{wanted['name']}"
            if wanted["organization"] != "me":
                return self._answer({"error": "You don't have the rights to create a repo under this namespace"}, 403)
            if key in hub.repos:
                return self._answer({"error": "You already created this repo", "url": f"{hub.url}/{key[1]}"}, 409)
            hub.repos[key] = Repo(wanted.get("visibility") == "private")
            return self._answer({"url": f"{hub.url}/{'datasets/' * (key[0] == 'dataset')}{key[1]}", "id": "1"})

        def _preupload(self, repo: Repo, wanted: dict[str, Any]) -> None:
            files: list[dict[str, Any]] = []
            for file in wanted["files"]:
                data = repo.files.get(file["path"])
                mode = "lfs" if file["size"] > hub.small else "regular"
                oid = None if data is None else hashlib.sha256(data).hexdigest() if mode == "lfs" else _blob_id(data)
                files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
            self._answer({"files": files})

        def _batch(self, wanted: dict[str, Any]) -> None:
            rows: list[dict[str, Any]] = []
            for file in wanted["objects"]:
                row = {"oid": file["oid"], "size": file["size"]}
                if file["oid"] not in hub.objects:
                    row["actions"] = {"upload": {"href": f"{hub.url}/lfs/{file['oid']}"}}
                rows.append(row)
            self._answer({"transfer": "basic", "objects": rows}, content_type="application/vnd.git-lfs+json")

        def _commit(self, repo: Repo, name: str, body: bytes) -> None:
            rows = [json.loads(line) for line in body.splitlines()]
            for row in rows:
                value = row["value"]
                if row["key"] == "file":
                    repo.files[value["path"]] = base64.b64decode(value["content"])
                elif row["key"] == "lfsFile":
                    repo.files[value["path"]] = hub.objects[value["oid"]]
            repo.commits.append(rows[0]["value"]["summary"])
            self._answer({"success": True, "commitOid": "a" * 40, "commitUrl": f"{hub.url}/{name}/commit/{'a' * 40}"})

        def _answer(
            self, value: Any, status: int = 200, headers: dict[str, str] | None = None,
            content_type: str = "application/json",
        ) -> None:  # fmt: skip
            data = json.dumps(value).encode()
            self.send_response(status)
            for key, text in {
                "Content-Type": content_type,
                "Content-Length": str(len(data)),
                **(headers or {}),
            }.items():
                self.send_header(key, text)
            self.end_headers()
            self.wfile.write(data)

    return Handler
