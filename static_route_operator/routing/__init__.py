"""Values of routing: prefixes, keys, next hops, routes, rules and facts. Nothing here does I/O."""
