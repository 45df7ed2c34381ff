"""Views: pure functions from an answer, which is a JSON object, to lines of text."""
