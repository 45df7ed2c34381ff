"""Questions to this host: to the process that routes here, and to the kernel. The answers are JSON objects."""
