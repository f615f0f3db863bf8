"""lq: a self-hosted job queue and scheduler, one daemon and one SQLite file."""

__version__ = "0.1.0"
