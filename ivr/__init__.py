"""Dialogues with a caller: menus, digits, hold announcements, callback offer, voicemail, consent.

How it works: a dialogue is a frozen value. `on(event)` gives the next value and the commands to
carry out; nothing here plays a sound, starts a timer or knows a clock. Whoever carries out the
commands feeds back what happened: keys, ends of prompts, timers, the hang-up. Every dialogue ends
with exactly one `Finish`, whatever happens, and a finished one ignores all that comes late.
"""
