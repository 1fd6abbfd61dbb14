"""Training of the integer networks: float twins in torch that compute as the integers will.

`api.py` is `tokenzip.train`, `evaluate.py` is `tokenzip.evaluate`. Training needs torch
(`pip install tokenzip[train]`); evaluating, and all else in tokenzip, does not.
"""
