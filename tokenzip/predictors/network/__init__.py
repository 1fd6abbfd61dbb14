"""Neural predictors: an integer network of models/ run by a backend of integer/.

network.py is the arithmetic, once for all backends; batch.py codes many chunks together with it.
"""
