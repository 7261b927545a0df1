"""The language ops write: who gets a call, and when.

Pure: no clock, event loop, log or network; `now` and everything random come in as arguments.
"""
