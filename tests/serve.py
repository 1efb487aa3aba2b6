"""A loopback server of files that honours range requests and counts bytes, and of answers that a test makes."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Served:
    """What `serve` gives. ``url``: of the folder, without a slash at its end.

    sent:    name below the folder -> bytes of it that were sent.
    asked:   every request in order: (method, name, range or "").
    answers: name -> function of (query, body) that gives what is sent as JSON: an API. The query has one value a key,
             the body is what was posted, or None.
    broken:  names of which half of what is asked for is sent, and then the connection is closed.
    failing: name -> how many requests more are answered by 503.
    """

    url: str
    sent: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    answers: dict[str, Callable[[dict[str, str], Any], Any]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    failing: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def bytes(self) -> int:
        """All bytes of content that were sent."""
        return sum(self.sent.values())


@contextmanager
def serve(folder: Path, ranges: bool = True) -> Iterator[Served]:
    """Serve ``folder`` on 127.0.0.1 while the block runs; without ``ranges`` every request gets the whole file."""
    served = Served("")
    handler = type("Handler", (_Handler,), {"folder": Path(folder), "served": served, "ranges": ranges})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    served: Served
    ranges: bool

    def do_GET(self) -> None:
        self._answer(None)

    def do_HEAD(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null"))

    def _answer(self, body: Any) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path).strip("/")
        with self.served.lock:
            self.served.asked.append((self.command, name, self.headers.get("Range", "")))
            failing = self.served.failing.get(name, 0)
            self.served.failing[name] = max(0, failing - 1)
        if failing:
            self._send(503, b"", name)
        elif name in self.served.answers:
            query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            text = json.dumps(self.served.answers[name](query, body)).encode()
            self._send(200, text, name, {"Content-Type": "application/json"})
        elif ".." in Path(name).parts or not (self.folder / name).is_file():
            self._send(404, b"", name)
        else:
            self._send_file(name, self.folder / name)

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
        if name in self.served.broken:
            content, self.close_connection = content[: len(content) // 2], True
        self.end_headers()
        if self.command != "HEAD" and content:
            with self.served.lock:
                self.served.sent[name] = self.served.sent.get(name, 0) + len(content)
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""
