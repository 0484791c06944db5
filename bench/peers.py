"""Other people's servers to measure against, where they are installed."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.machine import on_core
from bench.servers import Server

_CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        {more}
    }}
}}
"""


def has_nginx() -> bool:
    """Whether there is an nginx to measure against."""
    return shutil.which("nginx") is not None


def hash_password(password: str) -> str:
    """What stands for a password in an htpasswd file, by apr1."""
    command = ["openssl", "passwd", "-apr1", "-stdin"]
    return subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def nginx(folder: Path, root: Path, *, core: int | None, more: str = "") -> Iterator[Server]:
    """One worker that serves the files below `root`; `more` is what its server is told beside that.

    Raises RuntimeError where it doesn't begin.
    """
    folder.mkdir(parents=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            # as root its worker could not read a folder of one's own
            user="user root;" if Path.home() == Path("/root") else "",
            folder=folder,
            temporary=temporary,
            port=port,
            root=root,
            more=more,
        )
    )
    with on_core(core):
        process = subprocess.Popen(
            ["nginx", "-c", str(configuration), "-e", str(folder / "nginx.log")], stderr=subprocess.PIPE, text=True
        )
    try:
        yield Server(f"http://127.0.0.1:{port}", _worker(process))
    finally:
        process.terminate()
        process.communicate(timeout=15)


def _worker(process: "subprocess.Popen[str]") -> int:
    """The process that answers, once it is there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"nginx did not begin: {process.communicate()[1][-500:]}")
        if children.exists() and (found := children.read_text().split()):
            return int(found[0])
        time.sleep(0.02)
    raise RuntimeError("nginx did not begin within 10 seconds")
