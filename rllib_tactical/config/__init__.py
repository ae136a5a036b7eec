"""Configuration: frozen sections, one YAML file, one place for defaults."""
