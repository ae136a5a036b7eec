"""From files to bars: read, check, repair, resample, sessions and instruments."""
