"""Platform events: what the platform tells us happened to calls and agents (`POST /events/{router_id}`)."""
