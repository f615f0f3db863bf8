"""What Vercel is given: the WSGI application of the mirrors, called as it wants it."""

from tests.e2e.served.mirrors import on_wsgi as app

__all__ = ["app"]
