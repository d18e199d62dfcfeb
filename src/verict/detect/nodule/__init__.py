"""Nodules and masses: whether a scan shows a lung cancer, real or fake."""
