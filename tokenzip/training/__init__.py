"""Training of the integer networks: float twins in torch that compute as the integers will.

Needs torch (`pip install tokenzip[torch]`); nothing else in tokenzip does.
"""
