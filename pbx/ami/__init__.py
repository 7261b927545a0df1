"""Asterisk over its manager interface: typed actions out, typed events in."""
