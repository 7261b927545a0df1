"""Agents, strategies and waiting calls as plain rules: no clock, loop, randomness or store.

What stands here is the specification. `router/store/lua` does the same things atomically in Redis;
tests on a real Redis keep the two equal.
"""
