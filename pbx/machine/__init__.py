"""The life of one call as a pure state table: event in, commands out.

How it works: everything about a call is one frozen, serialisable `CallState`. `on(state, event)`
looks the pair (phase, kind of event) up in one table and gives the next state and the commands to
carry out. Nothing here knows Asterisk, a clock or a store. Because the whole state is a value, it is
journaled after every step, and a controller that starts anew goes on where the killed one stopped.
"""
