"""HTML page and JSON from a finished result."""
