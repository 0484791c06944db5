"""Whatever bytes come: an answer in the shape of every error, or a closed connection, and nothing in the log."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.harness import Pricore

MEGABYTE = 1024 * 1024
TOKENS = "POST /api/organizations/acme/tokens HTTP/1.1"
TOKEN = "GET /api/token HTTP/1.1"
CHUNKED = "Transfer-Encoding: chunked"


class Server(msgspec.Struct, frozen=True):
    """A registry that serves, its token, and where its log is."""

    port: int
    pid: int
    secret: str
    log: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def say(self, *sent: bytes) -> bytes:
        """All that comes back until the server closes; who is cut off while sending still reads the answer."""
        received = b""
        with self.connect() as connection, contextlib.suppress(ConnectionError):
            with contextlib.suppress(ConnectionError):
                for piece in sent:
                    connection.sendall(piece)
            while piece := connection.recv(65536):
                received += piece
        return received

    def ask(self, line: str, *headers: str, body: bytes = b"", host: str | None = "Host: localhost") -> "Answer":
        """The one answer to a request that is written as given, with the token."""
        fields = [host] if host is not None else []
        fields += [f"Authorization: Bearer {self.secret}", "Connection: close", *headers]
        return parse(self.say("\r\n".join([line, *fields, "", ""]).encode("latin-1") + body))


class Answer(msgspec.Struct, frozen=True):
    """The last answer in what came back, interim ones left out."""

    status: int
    head: str
    body: bytes

    def refuses(self, *statuses: int) -> dict[str, Any]:
        """The document of an error, which has the shape that all errors have."""
        assert self.status in statuses, self
        assert "Server: Pricore\r\n" in self.head + "\r\n"
        assert "Content-Type: application/json" in self.head
        assert self.head.startswith("HTTP/1.1 ")
        assert "Cache-Control: no-store\r\nVary: Authorization\r\n" in self.head
        document: dict[str, Any] = json.loads(self.body)
        assert set(document) <= {"message", "errors", "warning"}
        assert document["message"]
        return document


def parse(received: bytes) -> Answer:
    """An answer with its status."""
    if received.startswith(b"HTTP/1.1 100 "):
        received = received.partition(b"\r\n\r\n")[2]
    head, end, body = received.partition(b"\r\n\r\n")
    assert end, received
    return Answer(int(head.split()[1]), head.decode(), body)


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


STRANGERS: dict[str, bytes] = {
    "a method that is none": b"FOO /x\r\n\r\n",
    "a TLS hello": bytes.fromhex("160301010c0100010803"),
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("form", ["console", "json"])
def test_what_cannot_be_parsed_is_a_line_in_the_access_log(tmp_path: Path, form: str) -> None:
    """One line each, with where it came from: strangers cannot fill the log with tracebacks."""
    pricore = Pricore(tmp_path / "data", access_log="on", log_format=form)
    with pricore.serving() as served:
        log = tmp_path / "data-serve.log"
        server = Server(int(served["url"].rpartition(":")[2]), served["pid"], "", log)
        for sent in STRANGERS.values():
            parse(server.say(sent)).refuses(400)

    lines = [line for line in log.read_text().splitlines() if "UNKNOWN" in line]
    assert len(lines) == len(STRANGERS)
    assert all("400" in line and "127.0.0.1" in line for line in lines)
    assert lines == [line for line in log.read_text().splitlines() if "access" in line], log.read_text()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("wire")
    pricore = Pricore(folder / "data", rate_limit="0")
    pricore.found()
    secret = pricore.token("--scope", "tokens:write", "--scope", "packages:read")
    with pricore.serving() as served:
        port = int(served["url"].rpartition(":")[2])
        yield Server(port, served["pid"], secret, folder / "data-serve.log")


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The server, which has to go on serving afterwards and to have nothing to say of what strangers send."""
    yield running
    assert running.ask(TOKEN).status == 200
    assert running.log.read_text() == ""


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(*headers: str) -> bytes:
    return "\r\n".join([TOKENS, "Host: localhost", *headers, "", "{}"]).encode()


UNREADABLE: dict[str, bytes] = {
    **STRANGERS,
    "bytes in the query": get("/api/token?search=ü"),
    "bytes in Composer's query": get("/org/acme/search.json?q=ü"),
    "bytes in the path": get("/api/ü"),
    "a control character in the path": get("/api/\x7f"),
    "a tab in the path": get("/a\tb"),
    "no path": get("api/token"),
    "an asterisk": get("*"),
    "a host that is none": get("http://[::1/api/token"),
    "a port that is none": get("http://localhost:99999/api/token"),
    "a path of 9 kB": get("/" + "x" * 9_000),
    "a query of 9 kB": get("/?" + "x" * 9_000),
    "a header of 9 kB": post("X-Long: " + "x" * 9_000),
    "500 headers": post(*["X-Many: x"] * 500),
    "a header without a colon": post("colon"),
    "a blank in a header's name": post("X Y: z"),
    "a NUL in a header": post("X: a\x00b"),
    "a length that is no number": post("Content-Length: two"),
    "a length below zero": post("Content-Length: -1"),
    "two lengths": post("Content-Length: 2", "Content-Length: 3"),
    "a length and chunks": post("Content-Length: 2", CHUNKED),
    "an unknown transfer encoding": post("Transfer-Encoding: rot13"),
    "a chunk without a size": post(CHUNKED),
    "a chunk that is longer than it says": post(CHUNKED, "", "1\r\n{}\r\n0\r\n"),
    "no Host": b"GET /api/token HTTP/1.1\r\n\r\n",
    "two Hosts": post("Host: example.com"),
    "an unknown method": b"FOO /api/token HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method in lower case": b"get /api/token HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100c2010000be0303") + bytes(190),
    "lines without CR": b"GET /api/token HTTP/1.1\nHost: localhost\n\n",
    "no HTTP": b"hello\r\n\r\n",
    "noise": b"\x00\x01\x02\xff\r\n\r\n",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_parsed_is_400(server: Server, name: str) -> None:
    """It is told so in a sentence that repeats nothing of what was sent, and the connection ends."""
    message = parse(server.say(UNREADABLE[name])).refuses(400)["message"]

    assert message.startswith("the request cannot be read: ")
    assert len(message) < 100
    assert "b'" not in message


@pytest.mark.parametrize(
    ("target", "status"),
    [
        *(
            ("/api/%", 404),
            ("/api/%zz", 404),
            ("/api/token%00", 404),
            ("/org/acme/%ff", 404),
            ("/" + "x" * 8_000, 404),
        ),
        *(("//", 404), ("//api/token", 404), ("/../api/token", 404), ("/api/../api/token", 404), ("//[x/", 404)),
        *(("/api//token", 404), ("/org/acme/../../../etc/passwd", 404), ("http://example.com/nothing", 404)),
        ("/api/organizations/acme/packages?page=%", 422),
    ],
)
def test_an_address_that_leads_nowhere(server: Server, target: str, status: int) -> None:
    """Malformed percent signs, doubled slashes and dots are no other address than they say."""
    server.ask(f"GET {target} HTTP/1.1").refuses(status)


@pytest.mark.parametrize(
    "target", ["http://example.com/api/token", "/api/token?%=%", "/api/token?%zz=%00", "/api/token#x"]
)
def test_an_address_that_is_odd_and_good(server: Server, target: str) -> None:
    """A whole URL, and a query that nobody asked for, make no difference."""
    assert server.ask(f"GET {target} HTTP/1.1").status == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        *((f"{method} /api/token HTTP/1.1", 405) for method in ("OPTIONS", "TRACE", "PROPFIND", "M-SEARCH")),
        *(("OPTIONS * HTTP/1.1", 404), ("CONNECT example.com:443 HTTP/1.1", 404)),
        *(("CONNECT /api/token HTTP/1.1", 404), ("DELETE /nothing HTTP/1.1", 404), ("DELETE / HTTP/1.1", 405)),
    ],
)
def test_a_method_that_nothing_takes(server: Server, line: str, status: int) -> None:
    """Methods of proxies, of WebDAV and of the server itself are refused as any other."""
    server.ask(line).refuses(status)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/", 200), ("/api/token", 200), ("/org/acme/packages.json", 200), ("/org/no/x", 404)],
)
def test_head_has_no_body(server: Server, path: str, status: int) -> None:
    """HEAD is answered with what GET would be, whether that is an error or not."""
    answer = server.ask(f"HEAD {path} HTTP/1.1")

    assert (answer.status, answer.body) == (status, b"")


def test_a_body_where_none_is_asked_for(server: Server) -> None:
    """A GET with a body is answered like one without, and the next request is found behind it."""
    head = f"{TOKEN}\r\nHost: localhost\r\nAuthorization: Bearer {server.secret}\r\n"
    body = b'{"name": 1}'
    received = server.say(
        f"{head}{length(body)}\r\n\r\n".encode() + body + f"{head}Connection: close\r\n\r\n".encode()
    )

    assert received.count(b"HTTP/1.1 200 OK\r\n") == 2


def test_an_expectation_is_met(server: Server) -> None:
    """A client that waits for `100 Continue` gets it, and then the answer."""
    body = b'{"name": "made"}'

    assert server.ask(TOKENS, "Expect: 100-continue", length(body), body=body).status == 201


@pytest.mark.parametrize("line", [TOKENS, "GET /nothing HTTP/1.1"])
def test_another_expectation_is_417(server: Server, line: str) -> None:
    """Nothing else can be expected of this server."""
    assert "100-continue" in server.ask(line, "Expect: miracles").refuses(417)["message"]


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "Bogus", ""])
def test_credentials_of_any_bytes(server: Server, scheme: str) -> None:
    """What is no text in Authorization is a wrong token, which Composer is told too."""
    head = f"GET /org/acme/packages.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: {scheme} \xff\xfe\r\n"
    document = parse(server.say(head.encode("latin-1") + b"Connection: close\r\n\r\n")).refuses(401)

    assert document["message"] == document["warning"]


def test_of_several_credentials_the_first_counts(server: Server) -> None:
    """A second Authorization neither helps nor hurts."""
    assert server.ask(TOKEN, "Authorization: Bearer pri_wrong").status == 200
    server.ask(TOKEN, host="Host: localhost\r\nAuthorization: Bearer pri_wrong").refuses(401)


@pytest.mark.parametrize("host", ["a b", "<script>", "a/b", "\xff", ""])
def test_a_host_that_is_none_gets_into_no_document(server: Server, host: str) -> None:
    """Where documents would name it, a malformed Host is 400."""
    server.ask("GET /org/acme/packages.json HTTP/1.1", host=f"Host: {host}").refuses(400)


@pytest.mark.parametrize(
    "pieces",
    [(b"X: ", b"x" * 20 * MEGABYTE), (b"X-Many: " + b"x" * 8_000 + b"\r\n",) * 2_600],
    ids=["one", "many"],
)
def test_twenty_megabytes_of_headers(server: Server, pieces: tuple[bytes, ...]) -> None:
    """They are refused before they are here, or cut off, and what was received is not kept."""
    before = memory(server.pid)
    for _ in range(24):
        received = server.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n", *pieces)
        if received:  # a client that goes on sending may lose the answer
            parse(received).refuses(400)

    assert memory(server.pid) - before < 100 * MEGABYTE


@pytest.mark.parametrize(
    "sent", [(length(b"x" * 100), b"{"), (CHUNKED, b"5\r\n{"), (CHUNKED, b"5\r\n{}\r\n\r\n"), (CHUNKED, b"")]
)
def test_a_client_that_goes_away(server: Server, sent: tuple[str, bytes]) -> None:
    """Half a body of somebody who left is nothing that has to be told to anyone."""
    header, body = sent
    with server.connect() as connection:
        head = f"{TOKENS}\r\nHost: localhost\r\nAuthorization: Bearer {server.secret}\r\n{header}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(0.1)
    time.sleep(0.1)


def test_many_idle_connections(server: Server) -> None:
    """Hundreds that say nothing, or half a line, keep nobody else waiting."""
    with contextlib.ExitStack() as held:
        for number in range(500):
            connection = held.enter_context(server.connect())
            connection.sendall(b"GET /api" if number % 2 else b"")
        started = time.monotonic()

        assert server.ask(TOKEN).status == 200
        assert time.monotonic() - started < 2


def memory(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
