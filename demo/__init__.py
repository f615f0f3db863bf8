"""lq at work, in a few seconds: a real daemon, a real HTTP handler, four jobs.

`python -m demo` ends with 0 only if all of it happened, and says what did not otherwise.
"""
