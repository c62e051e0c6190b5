"""A file server on this machine that misbehaves on request."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """One file under any path.

    Attributes
    ----------
    content, tag : the file and its ETag; no tag, no ETag.
    ranges : whether parts are served.
    shift : bytes by which a part starts off where it should.
    drop_after : bytes after which each connection is closed; None for none.
    status : answered instead of the file.
    redirects : whether the file is at an address that the one asked for sends on to.
    asked : the Range header of each request so far.
    """

    content: bytes
    tag: str | None = '"one"'
    ranges: bool = True
    shift: int = 0
    drop_after: int | None = None
    status: int | None = None
    redirects: bool = False
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    server = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if server.redirects and not self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", f"/moved{self.path}")
                self.end_headers()
                return
            server.asked.append(self.headers["Range"])
            if server.status is not None:
                self.send_error(server.status)
                return
            start = self._asked_start()
            if start is not None and start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.end_headers()
                return
            body = server.content[start or 0 :]
            self.send_response(200 if start is None else 206)
            if start is not None:
                end = len(server.content) - 1
                self.send_header("Content-Range", f"bytes {start + server.shift}-{end}/{len(server.content)}")
            if server.tag is not None:
                self.send_header("ETag", server.tag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body[: server.drop_after])

        def _asked_start(self) -> int | None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            if not (asked and server.ranges and self.headers["If-Range"] == server.tag):
                return None
            return int(asked[1])

        def log_message(self, *_: object) -> None:
            pass

    http_server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http_server.server_port}/model.bin"
    thread = threading.Thread(target=http_server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http_server.shutdown()
        http_server.server_close()
        thread.join()
