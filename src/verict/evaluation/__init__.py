"""The ruler: how good a detector is, on places and marks, with intervals and with what brightness alone would do."""
