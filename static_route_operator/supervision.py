"""Tasks of a program that run until the program ends."""
