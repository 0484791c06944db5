"""What the stories drive: real Git repositories, the real `pricore` program, and the real Composer."""

import atexit
import contextlib
import fcntl
import functools
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from pricore.archives.bucket import Bucket
from tests.composers import Release
from tests.rules import token_name

STRICT = os.environ.get("PRICORE_TEST_STRICT") == "1"
"""Set where everything is installed, as in CI: what is missing is a failure there, not a skip."""

any_composer = pytest.mark.parametrize("composer", ["composer-any"], indirect=True)
"""Marks a story that is about something else than Composer: it is tried with one of those that there are."""


def need(*programs: str) -> None:
    """Skip the test where a program is missing, or fail it where all of them have to be there."""
    for program in programs:
        if shutil.which(program) is None:
            if STRICT:
                pytest.fail(f"{program} is not installed, and PRICORE_TEST_STRICT=1 says that it has to be")
            pytest.skip(f"{program} is not installed")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], bytes]) -> bytes:
    """What takes long to make, in a folder of that name: by one of the processes of a run, for all of them."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which they share
    folder = folder / name
    folder.mkdir(exist_ok=True)
    made = folder / "made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.write_bytes(make(folder))
    return made.read_bytes()


def prose(size: int) -> str:
    """So many bytes like those of a program: the same words again and again, in ever other orders."""
    chance = random.Random(1)
    words = ["".join(chance.choices("etaoinshrdlu_$", k=chance.randint(2, 9))) for _ in range(2000)]
    return " ".join(chance.choices(words, k=size))[:size]


class GitRepository:
    """A repository of a developer's, with a work tree; what is committed here is upstream at once."""

    def __init__(self, folder: Path, *, branch: str = "main") -> None:
        self.folder = folder
        self._clock = 1_700_000_000
        folder.mkdir(parents=True)
        self.git("init", "--quiet", f"--initial-branch={branch}")

    @property
    def url(self) -> str:
        return str(self.folder)

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        """The output of git, without what only this machine has configured."""
        self._clock += 60
        moment = f"{self._clock} +0000"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.com",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.com",
            "GIT_AUTHOR_DATE": moment,
            "GIT_COMMITTER_DATE": moment,
        }
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, f"git {arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def commit(
        self, composer: Mapping[str, Any] | str | None = None, *, files: Mapping[str, str | bytes] | None = None
    ) -> str:
        """Commit a composer.json (an object, or any text) and other files; gives the commit."""
        if composer is not None:
            text = composer if isinstance(composer, str) else json.dumps(composer, indent=4)
            self.write({"composer.json": text})
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=change")
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str, *, annotated: bool = False) -> None:
        self.git("tag", *(("--annotate", "--message=release") if annotated else ()), name)


class Upstream:
    """A bare repository with a commit for each release that will be: a push is only a file."""

    def __init__(self, folder: Path, name: str, *, commits: int) -> None:
        self.folder = folder
        self.name = name
        self._released = 0
        subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder)], check=True)
        composer = json.dumps({"name": name})
        script = [
            f"commit refs/heads/main\nmark :{number}\n"
            f"committer Ada <ada@example.com> {1_700_000_000 + number} +0000\ndata 1\nx\n"
            f"M 644 inline composer.json\ndata {len(composer)}\n{composer}\n"
            f"M 644 inline a.txt\ndata 4\n{number:04}\n"
            for number in range(1, commits + 1)
        ]
        marks = folder / "marks"
        subprocess.run(
            ["git", "-C", str(folder), "fast-import", "--quiet", f"--export-marks={marks}"],
            input="".join(script).encode(),
            check=True,
        )
        found = dict(line.removeprefix(":").split() for line in marks.read_text().splitlines())
        self._commits = [found[str(number)] for number in range(1, commits + 1)]

    def release(self) -> tuple[str, str]:
        """Push the next tag; gives it and its commit."""
        tag, commit = f"1.{self._released}.0", self._commits[self._released]
        path = self.folder / "refs" / "tags" / tag
        path.with_suffix(".new").write_text(f"{commit}\n")
        path.with_suffix(".new").rename(path)
        self._released += 1
        return tag, commit


class Pricore:
    """The program on a data folder of its own."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PRICORE_")
        } | {"PRICORE_DATA": str(data), "HOME": str(data.parent), "COLUMNS": "200", "PRICORE_SYNC_INTERVAL": "0"}
        self.environment |= {f"PRICORE_{name.upper()}": value for name, value in settings.items()}
        self.program = [sys.executable, "-W", "error", "-m", "pricore"]
        if program := os.environ.get("PRICORE_TEST_PROGRAM"):  # another one: the single file, say
            self.program = [program]
            self.environment["PRICORE_CACHE"] = str(Path(program).with_suffix(".cache"))

    def command(self, *arguments: str) -> list[str]:
        """What starts a command, for who starts it with `environment`."""
        return [*self.program, *arguments]

    def run(self, *arguments: str, status: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, with a text as its standard input; no traceback may show, however it ends."""
        done = subprocess.run(
            [*self.program, *arguments],
            env=self.environment,
            cwd=self.data.parent,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        assert done.returncode == status, f"{arguments}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[str]:
        """Begin a command in a session of its own and don't wait for it; its errors go to the end of a log."""
        with log.open("ab") as errors:
            return subprocess.Popen(
                [*self.program, *arguments],
                env=self.environment,
                cwd=self.data.parent,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    @contextlib.contextmanager
    def background(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs meanwhile, with more variables; it is killed at the end if it is still there."""
        with subprocess.Popen(
            [*self.program, *arguments],
            env=self.environment | environment,
            cwd=self.data.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def json(self, *arguments: str, status: int = 0, stdin: str | None = None) -> Any:
        """The one document that a command prints with --json."""
        return json.loads(self.run(*arguments, "--json", status=status, stdin=stdin).stdout)

    def fail(self, *arguments: str) -> str:
        """The one line that a command which fails says."""
        done = self.run(*arguments, status=1)
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("error: "), done.stderr
        return lines[0]

    def found(self) -> None:
        """Let there be an organization `acme`, as `org create` made it: once for many tests, for each a copy."""
        shutil.copytree(_founded(), self.data, dirs_exist_ok=True)

    def token(self, *options: str, org: str = "acme") -> str:
        secret: str = self.json("token", "create", org, token_name(), *options)["token"]
        return secret

    @staticmethod
    def wait(until: Callable[[], bool], *, seconds: float = 20) -> None:
        """Wait for what the server does by itself."""
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    @contextlib.contextmanager
    def serving(self, *arguments: str) -> Iterator[Any]:
        """What `serve` (or the command given) prints once it serves, and its `pid`; it is stopped at the end."""
        errors = self.data.parent / f"{self.data.name}-serve.log"
        with (
            errors.open("wb") as log,
            subprocess.Popen(
                [*self.program, *(arguments or ("serve",)), "--port", "0", "--json"],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield _read_document(process, errors) | {"pid": process.pid}
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
        assert process.returncode == 0, errors.read_text()
        assert "Traceback" not in errors.read_text(), errors.read_text()


@functools.cache
def _founded() -> Path:
    """The data folder of a new organization `acme`."""
    folder = tempfile.mkdtemp(prefix="pricore-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program = Pricore(Path(folder) / "data")
    program.run("org", "create", "acme")
    return program.data


def _read_document(process: subprocess.Popen[str], errors: Path) -> Any:
    assert process.stdout is not None
    text = ""
    while line := process.stdout.readline():
        text += line
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(text)
    process.wait(timeout=10)
    raise AssertionError(f"it did not serve: {text}{errors.read_text()}")


class Place(Protocol):
    """Where a registry of the tests keeps archives, and what tells Pricore of it."""

    @property
    def settings(self) -> dict[str, str]: ...

    def open(self) -> Bucket | None:
        """The bucket, where it is one."""

    def files(self) -> dict[str, int]:
        """The names of all that is kept, with the bytes."""

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes) -> None: ...

    def delete(self, name: str) -> None: ...


class DataFolder:
    """The folder of archives in a data folder."""

    def __init__(self, data: Path) -> None:
        self.path = data / "dists"
        self.settings: dict[str, str] = {}

    def open(self) -> None: ...

    def files(self) -> dict[str, int]:
        found = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.stat().st_size for path in found}

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)

    def delete(self, name: str) -> None:
        (self.path / name).unlink()


def as_composer_reads(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A version of a document with the commit in the URL of its archive, as Composer puts it there."""
    dist = entry["dist"]
    return {**entry, "dist": dist | {"url": dist["url"].replace("%reference%", dist["reference"])}}


class Client:
    """Who asks a registry at a URL over HTTP, with a token."""

    def __init__(self, url: str, secret: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self.secret = secret

    def ask(
        self, method: str, path: str, document: Any = None, *, secret: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """The status and the body; raises OSError or HTTPException where the server goes away meanwhile."""
        body = None if document is None else json.dumps(document).encode()
        return self.send(method, path, body, secret=secret, **headers)

    def send(
        self, method: str, path: str, body: bytes | None, *, secret: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """The same with any body."""
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        with contextlib.closing(connection):
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Authorization": f"Bearer {secret or self.secret}"} | headers)
            response = connection.getresponse()
            return response.status, response.read()

    def read(self, path: str) -> Any:
        """The document at a path, which has to be there."""
        status, body = self.ask("GET", path)
        assert status == 200, f"{path}: {status} {body[:300]!r}"
        return json.loads(body)

    def versions(self, package: str) -> dict[str, dict[str, Any]]:
        """Both halves of a package's metadata, whole, by version; nothing where it is not there."""
        found = {}
        for half in ("", "~dev"):
            status, body = self.ask("GET", f"/org/acme/p2/{package}{half}.json")
            if status == 404:
                continue
            assert status == 200, body
            entry: dict[str, Any] = {}
            for change in json.loads(body)["packages"][package]:
                entry = {key: value for key, value in (entry | change).items() if value != "__unset"}
                found[entry["version"]] = as_composer_reads(entry)
        return found

    def download(self, entry: Mapping[str, Any]) -> bytes:
        """The archive of a version, which has the checksum that its metadata says if it says one."""
        path = "/" + entry["dist"]["url"].split("/", 3)[3]
        status, body = self.ask("GET", path)
        assert status == 200, f"{path}: {status} {body[:300]!r}"
        assert entry["dist"].get("shasum") in (None, hashlib.sha1(body).hexdigest()), path
        return body


class Composer:
    """The real client in a project and a home of its own, which knows no other registry.

    It is the installed Composer, unless another one is named.
    """

    def __init__(self, folder: Path, *, release: Release | None = None) -> None:
        need("php", *(() if release else ("composer",)))
        self.folder = folder
        self._path = release.path() if release else os.environ["PATH"]
        self.home = folder.parent / f"{folder.name}-home"
        folder.mkdir(parents=True)
        self.write(require={})

    def write(self, *, require: Mapping[str, str], registry: str | None = None, **more: Any) -> None:
        """Write the project's composer.json; `registry` is the URL of an organization."""
        repositories: list[Any] = [{"packagist.org": False}]
        if registry is not None:
            repositories.insert(0, {"type": "composer", "url": registry})
        content = {"repositories": repositories, "require": dict(require), "config": {"secure-http": False}} | more
        (self.folder / "composer.json").write_text(json.dumps(content))

    def log_in(self, registry: str, secret: str) -> None:
        host = registry.split("/")[2]
        credentials = {"http-basic": {host: {"username": "token", "password": secret}}}
        (self.folder / "auth.json").write_text(json.dumps(credentials))

    def forget(self) -> None:
        """Start like a new machine: no cache, nothing installed."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.folder / "vendor", ignore_errors=True)

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Composer's whole output."""
        done = subprocess.run(
            ["composer", "--no-interaction", "--no-ansi", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, f"composer {arguments}: {output}"
        return output

    def environment(self) -> dict[str, str]:
        return {
            "PATH": self._path,
            "HOME": str(self.home),
            "COMPOSER_HOME": str(self.home),
            "COMPOSER_ALLOW_SUPERUSER": "1",
            "COMPOSER_NO_AUDIT": "1",
        }

    def locked(self) -> dict[str, Any]:
        """The packages in composer.lock, by name."""
        lock = json.loads((self.folder / "composer.lock").read_text())
        return {package["name"]: package for package in lock["packages"]}

    def installed(self, name: str, file: str) -> str:
        return (self.folder / "vendor" / name / file).read_text()
