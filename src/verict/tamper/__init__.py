"""Makes forgeries, always marked as such."""
