"""Fits what detect/ runs; writes weights and their cards."""
