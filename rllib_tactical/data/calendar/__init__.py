"""Trading calendars: schedules, sessions of bars, bar lengths."""
