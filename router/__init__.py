"""The application: agents and queues over Redis, decisions in time, the HTTP surface, the command."""
