"""What Composer gets over HTTP, and who gets it: a real server on real repositories, one request at a time."""

import pytest

pytest.register_assert_rewrite("tests.web.composer.harness")
