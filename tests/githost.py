"""A Git host over HTTP, as private ones are."""

import base64
import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class GitHost:
    """The real `git http-backend` behind Basic authentication, which notes who asked for what."""

    def __init__(self, root: Path, readers: dict[str, str] | None = None) -> None:
        self.root = root
        self.readers = readers or {}
        """The folder below the root that each token may read; a host without any asks nobody."""
        self.seen: list[tuple[str, str]] = []
        self.location = ""
        """Where those who have logged in are sent on to."""
        self.gate: threading.Event | None = None
        """What is waited for before a pack is sent."""
        self.waiting = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self.server.server_port}"

    def url(self, name: str) -> str:
        return f"http://{self.host}/{name}/.git"

    def secrets(self) -> set[str]:
        """The users and passwords that came."""
        found = {base64.b64decode(header.removeprefix("Basic ")).decode() for _, header in self.seen if header}
        self.seen.clear()
        return found

    @contextlib.contextmanager
    def running(self) -> Iterator["GitHost"]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                header = self.headers.get("Authorization", "")
                host.seen.append((self.path, header))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Transfer-Encoding"):
                    raise AssertionError("a small request comes in one piece")
                if host.readers and not host.allows(self.path, header):
                    self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
                elif host.location:
                    self._answer(302, {"Location": host.location + self.path})
                else:
                    if host.gate is not None and body and b"want " in body:
                        host.waiting.set()
                        host.gate.wait(20)
                    self._answer(*host.backend(self.command, self.path, dict(self.headers), body))

            do_POST = do_PATCH = do_GET  # noqa: N815  # a name of http.server's

            def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def allows(self, path: str, header: str) -> bool:
        _, _, token = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        return token in self.readers and path.startswith(f"/{self.readers[token]}")

    def backend(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        path, _, query = path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": headers.get("Content-Encoding", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=body, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        answered = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return int(answered.pop("Status", "200").split()[0]), answered, content
