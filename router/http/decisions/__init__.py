"""`/route/{router_id}` and `/dialplan/{router_id}`: decisions over HTTP."""
