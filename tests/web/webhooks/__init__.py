"""Webhooks as Git hosts send them.

A delivery counts when it proves, over the bytes as they came, that its sender knows the repository's secret. What
it asks for is on disk before the answer; what it does not prove changes nothing.
"""

import pytest

pytest.register_assert_rewrite("tests.web.api.harness", "tests.web.composer.harness", "tests.web.webhooks.harness")
