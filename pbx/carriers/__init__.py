"""Who carries out what a call asks for: one class per kind of command, one method per command."""
