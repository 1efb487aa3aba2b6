"""A loopback server of files that honours range requests and counts bytes, and of answers that a test makes.

It is a process of its own: rasterio keeps Python's lock while it opens a file, and a thread could not answer then.
"""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import urlopen

_STATE = "__state__"
Answer = Callable[[str, dict[str, str], Any], Any]


class Served:
    """What `serve` gives. ``url``: of the folder, without a slash at its end."""

    def __init__(self, url: str):
        self.url = url

    @property
    def sent(self) -> dict[str, int]:
        """Name below the folder -> bytes of it that were sent."""
        return self._state()["sent"]

    @property
    def asked(self) -> list[tuple[str, str, str]]:
        """Every request in order: method, name, range or ""."""
        return [tuple(one) for one in self._state()["asked"]]

    @property
    def bytes(self) -> int:
        """All bytes of content that were sent."""
        return sum(self.sent.values())

    def breaks(self, name: str) -> None:
        """From now on send half of what is asked of a file, and close the connection."""
        self._state({"broken": [name]})

    def fails(self, name: str, times: int) -> None:
        """Answer the next requests of a file by 503."""
        self._state({"failing": {name: times}})

    def _state(self, change: Any = None) -> dict[str, Any]:
        with urlopen(f"{self.url}/{_STATE}", data=json.dumps(change).encode()) as answer:
            return json.loads(answer.read())


@contextmanager
def serve(folder: Path, answers: Mapping[str, Answer] | None = None, ranges: bool = True) -> Iterator[Served]:
    """Serve ``folder`` on 127.0.0.1 while the block runs.

    answers: name -> function of (url of the folder, query, body) that gives what is sent as JSON: an API. The query
             has one value a key, the body is what was posted, or None. It runs in the server's process.
    ranges:  without them every request gets the whole file.
    """
    state = {"sent": {}, "asked": [], "broken": [], "failing": {}}
    own = {"folder": Path(folder), "answers": dict(answers or {}), "ranges": ranges, "state": state, "lock": Lock()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), own))
    server.daemon_threads = True
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        process.kill()
        process.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    answers: dict[str, Answer]
    ranges: bool
    state: dict[str, Any]
    lock: Lock

    def do_GET(self) -> None:
        self._answer(None)

    def do_HEAD(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null"))

    def _change(self, change: Any) -> bytes:
        """Take what a test sets, and return all that is known."""
        with self.lock:
            self.state["broken"] += (change or {}).get("broken", [])
            self.state["failing"] |= (change or {}).get("failing", {})
            return json.dumps(self.state).encode()

    def _answer(self, body: Any) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path).strip("/")
        if name == _STATE:
            return self._send(200, self._change(body), name)
        with self.lock:
            self.state["asked"].append((self.command, name, self.headers.get("Range", "")))
            failing = self.state["failing"].get(name, 0)
            self.state["failing"][name] = max(0, failing - 1)
        if failing:
            return self._send(503, b"", name)
        if name in self.answers:
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            text = json.dumps(self.answers[name](f"http://{self.headers['Host']}", query, body)).encode()
            return self._send(200, text, name, {"Content-Type": "application/json"})
        if ".." in Path(name).parts or not (self.folder / name).is_file():
            return self._send(404, b"", name)
        return self._send_file(name, self.folder / name)

    def _send_file(self, name: str, file: Path) -> None:
        size = file.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")) if self.ranges else None
        headers = {"Accept-Ranges": "bytes"} if self.ranges else {}
        first, last, code = 0, size - 1, 200
        if wanted and (wanted[1] or wanted[2]):
            first = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
            last = min(int(wanted[2]), size - 1) if wanted[1] and wanted[2] else size - 1
            if first > last:
                return self._send(416, b"", name, {"Content-Range": f"bytes */{size}"})
            code, headers = 206, headers | {"Content-Range": f"bytes {first}-{last}/{size}"}
        if self.command == "HEAD":
            return self._send(code, b"", name, headers, last - first + 1)
        with file.open("rb") as opened:
            opened.seek(first)
            return self._send(code, opened.read(last - first + 1), name, headers)

    def _send(
        self, code: int, content: bytes, name: str, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        if name in self.state["broken"]:
            content, self.close_connection = content[: len(content) // 2], True
        self.end_headers()
        if self.command != "HEAD" and content:
            if name != _STATE:
                with self.lock:
                    self.state["sent"][name] = self.state["sent"].get(name, 0) + len(content)
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
