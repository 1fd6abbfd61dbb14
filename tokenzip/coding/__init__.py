"""Integer probability tables to range coder words and back; knows no predictor.

constants.py the numbers, tables.py scores to tables, weights.py the powers of two in these,
encoder.py words by constriction, decoder.py their decoding in numba.
"""
