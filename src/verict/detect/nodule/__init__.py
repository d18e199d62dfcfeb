"""Nodules and masses: does this scan show a lung cancer, whether real or fake?"""
