"""Requests are answered whatever aiohttp calls what is private to it."""

import socket
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest

from pricore.web.http.connection import PRIVATE_NAMES
from tests.harness import Pricore

RENAMED: Final = """
import inspect, re, sys
from aiohttp import web, web_protocol

name = sys.argv.pop(1)
source, count = re.subn(rf"\\b{name}\\b", "_renamed", inspect.getsource(web_protocol))
assert count > 1
exec(compile(source, web_protocol.__file__, "exec"), web_protocol.__dict__)
for item in web_protocol.__all__:
    setattr(web, item, getattr(web_protocol, item))

from pricore.__main__ import main

sys.argv[0] = "pricore"
main()
"""
"""The program with an aiohttp that has another name for one thing in it."""


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_name_that_aiohttp_has_no_more_costs_time_alone(name: str, tmp_path: Path) -> None:
    """Good and bad requests have their answers, the server stops as ever, and one line of its log says it."""
    pricore = Pricore(tmp_path / "data")
    pricore.run("org", "create", "acme")
    headers = {"Authorization": f"Bearer {pricore.token()}"}
    pricore.program = [sys.executable, "-W", "error", "-c", RENAMED, name]
    with pricore.serving() as served, closing(HTTPConnection(served["listens"], timeout=20)) as connection:
        for _ in range(3):
            connection.request("GET", "/org/acme/packages.json", headers=headers)
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:1]) == (200, b"{")
        with socket.create_connection(connection.sock.getpeername(), timeout=20) as other:
            other.sendall(b"no request\r\n\r\n" * 2)
            assert b" 400 Bad Request\r\n" in other.recv(65536)
        # and one connection is left idle
    log = (tmp_path / "data-serve.log").read_text()
    assert log.count(f"it has no {name})") == 1
