"""Labelled data sets of forged scans, in the layout of UCI data set 520.

`survey` reads each source once and notes what could be forged in it; `plan` decides, from these notes and a seed
alone, which rows are made where; `forge` makes one scan; `store` writes it whole or not at all and knows after a kill
what is left to do; `run` does everything together.
"""
