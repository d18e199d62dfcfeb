"""Evidence from pixels and headers, to regions, to a verdict."""
