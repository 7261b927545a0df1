"""What there is: routers, queues and agents, as described in files and as known by heart."""
