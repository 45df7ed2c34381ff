"""Scenarios: stories on a real kernel as text, told once and checked against the engine and against the program."""
