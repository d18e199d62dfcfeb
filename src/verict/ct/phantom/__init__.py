"""A simulated patient in a simulated scanner: chest CT whose truth is known, of nobody."""
