"""The registry's server, as the tests of its routes have it."""

from tests.web.composer.conftest import stack, start, template, world

__all__ = ["stack", "start", "template", "world"]  # pytest finds fixtures by these names
