"""The other side of the PBX: what `pbx/ports.py` asks for, over rules, store and files.

One file per port. Only the wiring and the command line know these.
"""
