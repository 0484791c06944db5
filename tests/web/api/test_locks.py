"""A lock file that is sent over the API keeps nobody else waiting."""

import threading

import pytest

from pricore.services import lock_files
from tests.web.api.harness import ORG, call
from tests.web.composer.harness import World


async def test_a_lock_file_is_read_beside_the_loop(
    world: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are answered while the packages of a large one are looked for."""
    threads = []
    read = lock_files.packages_of

    def packages_of(lock: lock_files.LockFile, *, public_url: str) -> object:
        threads.append(threading.current_thread())
        return read(lock, public_url=public_url)

    monkeypatch.setattr("pricore.services.lock_files.packages_of", packages_of)
    url = f"{world.base}/org/acme/packages/acme/library/1.0.0.zip"
    document = {"packages": [{"name": "acme/library", "version": "1.0.0", "dist": {"url": url}}]}
    for method, path in (("POST", f"{ORG}/lock-checks"), ("PUT", f"{ORG}/locks/shop")):
        reply = await call(world, method, path, admin, document)
        assert reply.status == 200, reply

    assert len(threads) == 2
    assert threading.main_thread() not in threads
