"""State on disk that outlives this process: the last known good routes, and the journal of unconfirmed changes."""
