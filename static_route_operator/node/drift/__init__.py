"""Changes that other programs make to installed routes."""
