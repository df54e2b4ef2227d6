"""REST models: what goes over HTTP, shared by each service and the client. One file a service."""
