"""The daemon and the endpoint of the end-to-end tests."""

from tests.e2e.conftest import endpoint, lq, start

__all__ = ["endpoint", "lq", "start"]
