"""The REST API over HTTP: a real server on repositories that were really synced."""

import pytest

pytest.register_assert_rewrite("tests.web.api.harness", "tests.web.composer.harness")
