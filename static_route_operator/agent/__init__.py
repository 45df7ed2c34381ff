"""The agent: one node's engine, fed from the API server."""
