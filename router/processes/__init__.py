"""The processes of the service, put together and run."""
