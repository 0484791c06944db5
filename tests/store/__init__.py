"""The database keeps what it was told, whole or not at all, and says when something changed."""

import pytest

pytest.register_assert_rewrite("tests.store.harness")
