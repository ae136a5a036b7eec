"""The ASGI application: routes, authentication, OpenAPI."""
