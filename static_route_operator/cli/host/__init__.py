"""What can be asked on a host: of the process that routes there, and of the kernel.

The answers are JSON objects, which the command line shows.
"""
