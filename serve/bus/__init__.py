"""The service's side of the bus: events in, exactly one command for each out."""
