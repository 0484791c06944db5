"""Numbers are added up over the processes of a server, and go on where a process was replaced."""

from pricore.system.metrics import Board, Metrics


def test_processes_add_to_one_board() -> None:
    """What each process counts is in the sum, and what the one counted in whose place another one came."""
    board = Board(2)
    mine = Metrics(board)
    requests = mine.route("GET", "/")
    requests.add(200, 0.01, 100)
    for _ in range(2):
        Metrics(board, number=1).route("GET", "/").add(200, 0.01, 100)
    assert mine.total(requests.statuses + 2) == 3
    assert mine.total(requests.bytes) == 300


def test_a_sync_that_was_at_work_in_a_dead_process_is_not() -> None:
    """The process in its place begins with none."""
    board = Board()
    Metrics(board).syncs.begin()
    after = Metrics(board)
    assert after.total(after.syncs.running) == 0
