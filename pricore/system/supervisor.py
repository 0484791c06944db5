"""Several processes behind one port: forked from one that only watches them, and replaced where one dies."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from pricore.system.systemd import notify, notify_reloading

_log = logging.getLogger("pricore.workers")

_WATCHED: Final = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD))
_PAUSE: Final = 1.0
"""Seconds between two starts of a worker that dies at once."""

Ready = Callable[[], None]
Work = Callable[[int, Ready], None]
"""What a worker of a number does to its end; it calls what it is given once it is ready."""


class _Worker(msgspec.Struct):
    number: int
    begun: float
    ready: bool = False


def supervise(count: int, work: Work, *, ready: Ready) -> int:
    """Run `work` in that many processes until SIGTERM or SIGINT, which they get, as they get SIGHUP.

    `ready` is called once all of them are. One that ends before that ends all; later, another takes its place.
    Gives the exit status: 1 where not all of them ended well. In a worker, it raises what `work` raises, and
    SystemExit at its end.
    """
    return _Supervisor(count, work, ready).run()


class _Supervisor:
    def __init__(self, count: int, work: Work, ready: Ready) -> None:
        self._count = count
        self._work = work
        self._ready = ready
        self._told = False
        self._stopping = False
        self._status = 0
        self._workers: dict[int, _Worker] = {}
        # workers write their numbers into the one when they are ready, and notice by the other that nobody watches
        self._ready_read, self._ready_write = os.pipe()
        self._alive_read, self._alive_write = os.pipe()
        os.set_blocking(self._ready_read, False)

    def run(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        for number in range(self._count):
            self._start(number)
        while self._workers:
            match signal.sigwait(_WATCHED):
                case signal.SIGTERM | signal.SIGINT:
                    self._stop()
                case signal.SIGHUP:
                    notify_reloading()
                    self._tell(signal.SIGHUP)
                    notify("READY=1")
                case signal.SIGUSR1:
                    self._note_ready()
                case _:
                    self._reap()
        return self._status

    def _start(self, number: int) -> None:
        watched_by = os.getpid()
        pid = os.fork()
        if pid:
            self._workers[pid] = _Worker(number, time.monotonic())
            return
        os.close(self._alive_write)
        os.environ.pop("NOTIFY_SOCKET", None)  # only this one's word counts there
        threading.Thread(target=_end_with, args=(self._alive_read,), daemon=True).start()
        # not SIGINT: a terminal sends it to all processes, and one that is told twice to stop does so at once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED - {signal.SIGINT})

        def ready() -> None:
            os.write(self._ready_write, bytes((number,)))
            os.kill(watched_by, signal.SIGUSR1)

        self._work(number, ready)
        # out of here, a worker must not go on as one more supervisor
        raise SystemExit(0)

    def _stop(self) -> None:
        notify("STOPPING=1")
        self._stopping = True
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)

    def _note_ready(self) -> None:
        try:
            numbers = os.read(self._ready_read, 1024)
        except BlockingIOError:
            return
        for worker in self._workers.values():
            worker.ready = worker.ready or worker.number in numbers
        if not (self._told or self._stopping) and all(worker.ready for worker in self._workers.values()):
            self._told = True
            self._ready()

    def _reap(self) -> None:
        while self._workers:
            pid, result = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None:
                self._replace(worker, os.waitstatus_to_exitcode(result))

    def _replace(self, worker: _Worker, status: int) -> None:
        if not self._stopping and not self._told:
            self._stop()
            self._status = 1
        elif self._stopping:
            self._status = self._status or (1 if status else 0)
        else:
            _log.error("worker %d ended with %d; another takes its place", worker.number, status)
            time.sleep(max(0.0, worker.begun + _PAUSE - time.monotonic()))
            self._start(worker.number)


def _end_with(alive: int) -> None:
    """End this process when the one that watches it is no more."""
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)
