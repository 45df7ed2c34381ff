"""Pure tests: no kernel, no cluster, no clock; the whole folder runs in seconds."""
