"""Numbers are added up over the processes of a server, and go on where a process was replaced."""

from pricore.system.metrics import Metrics, SharedNumbers


def test_processes_add_to_shared_numbers() -> None:
    """What each process counts is in the sum, and what the one counted in whose place another one came."""
    numbers = SharedNumbers(2)
    mine = Metrics(numbers)
    requests = mine.route("GET", "/")
    requests.add(200, 0.01, 100)
    for _ in range(2):
        Metrics(numbers, number=1).route("GET", "/").add(200, 0.01, 100)
    assert mine.total(requests.statuses + 2) == 3
    assert mine.total(requests.bytes) == 300


def test_a_sync_that_was_at_work_in_a_dead_process_is_not() -> None:
    """The process in its place begins with none."""
    numbers = SharedNumbers()
    Metrics(numbers).syncs.begin()
    after = Metrics(numbers)
    assert after.total(after.syncs.running) == 0
