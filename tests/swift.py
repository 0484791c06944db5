"""A real S3 server: OpenStack Swift out of Debian's packages, with its S3 API, on ports of this machine.

One process each for accounts, containers and objects, and a proxy that speaks S3, on one disk without copies, all
in a folder. Swift keeps what it knows of a file in extended attributes: the folder's disk has to have them.
"""

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import obstore
import pytest
from obstore.store import S3Store

from pricore.archives.bucket import Bucket
from tests.harness import Pricore, need

ACCESS_KEY: Final = "test:tester"
SECRET_KEY: Final = "a-secret-of-the-tests"
_KINDS: Final = ("account", "container", "object")

_RINGS: Final = """
import sys
from swift.common.ring import RingBuilder
folder, *servers = sys.argv[1:]
for kind, port in zip(servers[::2], servers[1::2]):
    builder = RingBuilder(2, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "disk", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{kind}.ring.gz")
"""

_COMMON: Final = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}
mount_check = false
"""

_PROXY: Final = """\
[pipeline:main]
pipeline = catch_errors gatekeeper proxy-logging cache listing_formats s3api tempauth copy dlo slo versioned_writes
    proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
# the others may begin after it, and are not to be passed over for a minute then
error_suppression_limit = 1000000
# it has to have one, and goes on without
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
"""
_FILTERS: Final = (
    *("catch_errors", "gatekeeper", "proxy-logging", "listing_formats", "s3api", "copy", "dlo", "slo"),
    "versioned_writes",
)


class S3:
    """A running server, and a bucket in it that is empty when a test begins."""

    def __init__(self, folder: Path) -> None:
        need("swift-proxy-server", "swift-account-server", "swift-container-server", "swift-object-server")
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._buckets = 0
        self.bucket = ""
        ports = {kind: _free_port() for kind in (*_KINDS, "proxy")}
        self.endpoint = f"http://127.0.0.1:{ports['proxy']}"
        self._check_disk()
        (folder / "disk").mkdir()
        self._configure(ports)

    def _check_disk(self) -> None:
        probe = self._folder / "probe"
        probe.touch()
        try:
            os.setxattr(probe, "user.swift", b"x")
        except OSError:
            pytest.fail(f"the disk of {self._folder} has no extended attributes: set TMPDIR to one that has")

    def _configure(self, ports: dict[str, int]) -> None:
        own = "[swift-hash]\nswift_hash_path_prefix = a\n[storage-policy:0]\nname = one\ndefault = yes\n"
        (self._folder / "swift.conf").write_text(own)
        for kind, port in ports.items():
            common = _COMMON.format(port=port, user=getpass.getuser(), folder=self._folder)
            own = f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n"
            if kind == "proxy":
                filters = (f"[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n" for name in _FILTERS)
                own = _PROXY.format(secret=SECRET_KEY) + "".join(filters)
            (self._folder / f"{kind}.conf").write_text(common + own)
        # Debian's own Python: Swift is not in the tests' environment
        servers = [word for kind in _KINDS for word in (kind, str(ports[kind]))]
        subprocess.run(["/usr/bin/python3", "-c", _RINGS, str(self._folder), *servers], check=True)

    @contextlib.contextmanager
    def running(self) -> Iterator["S3"]:
        try:
            for kind in (*_KINDS, "proxy"):
                self._start(kind)
            self._wait()
            yield self
        finally:
            for kind in [*self._running]:
                self._stop(kind)

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """While this lasts, nobody answers."""
        self._stop("proxy")
        yield
        self._start("proxy")
        self._wait()

    def _start(self, kind: str) -> None:
        with (self._folder / f"{kind}.log").open("ab") as log:
            self._running[kind] = subprocess.Popen(
                [f"swift-{kind}-server", f"{self._folder}/{kind}.conf", "-v"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self, kind: str) -> None:
        process = self._running.pop(kind)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _wait(self) -> None:
        def is_there() -> bool:
            for kind, process in self._running.items():
                assert process.poll() is None, (self._folder / f"{kind}.log").read_text()
            return self._makes("probe")

        Pricore.wait(is_there, seconds=60)

    def _makes(self, bucket: str) -> bool:
        """Whether a bucket could be made, or is there already."""
        url = obstore.sign(self._store(bucket), "PUT", "", timedelta(seconds=60))
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="PUT", data=b""), timeout=10):
                return True
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 409
        except OSError:
            return False

    def _store(self, bucket: str, prefix: str | None = None) -> S3Store:
        return S3Store(
            bucket,
            prefix=prefix,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )

    def begin(self) -> None:
        """Give the next test a bucket of its own."""
        self._buckets += 1
        self.bucket = f"dists-{os.getpid()}-{self._buckets}"
        assert self._makes(self.bucket)

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/some/where"

    @property
    def settings(self) -> dict[str, str]:
        """What tells Pricore of it."""
        return {
            "dist_storage": self.address,
            "s3_endpoint": self.endpoint,
            "s3_access_key": ACCESS_KEY,
            "s3_secret_key": SECRET_KEY,
        }

    def open(self) -> Bucket:
        return Bucket(
            self.address, endpoint=self.endpoint, region="us-east-1", access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )

    def files(self) -> dict[str, int]:
        """The names of all objects below the address, with their sizes."""
        found = obstore.list(self._store(self.bucket, "some/where")).collect()
        return {item["path"]: item["size"] for item in found}

    def read(self, name: str) -> bytes:
        return obstore.get(self._store(self.bucket, "some/where"), name).bytes().to_bytes()

    def write(self, name: str, content: bytes) -> None:
        obstore.put(self._store(self.bucket, "some/where"), name, content)

    def delete(self, name: str) -> None:
        obstore.delete(self._store(self.bucket, "some/where"), name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
