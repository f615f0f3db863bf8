"""What Vercel is given: the ASGI application of the mirrors, called as it wants it."""

from tests.e2e.served.mirrors import on_asgi as app

__all__ = ["app"]
