"""Handlers and pushes in the app's own code: signing, checking and serialising are done here.

The names that people use are exported by `lq` itself, on first use. Imports neither the daemon
nor a web framework.
"""
