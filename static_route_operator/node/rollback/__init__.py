"""Confirmation of changes, and roll-back of those that cut the node off."""
