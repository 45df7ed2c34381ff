"""Values of routing: prefixes, keys, paths, routes, rules and facts. Nothing here does I/O."""
