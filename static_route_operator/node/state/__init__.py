"""What outlives this process: the last known good routes, and what was on trial when it ended."""
