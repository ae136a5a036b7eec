"""The operator's page: what it shows, live and of past days."""
