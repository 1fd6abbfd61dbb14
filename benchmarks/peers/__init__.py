"""Re-implementations of published token compressors, for comparison only (benchmarks/peers.py).

All of them predict with floats, which is how they are published. Each is a torch module that tells
in which steps it predicts a frame; coding.py codes with any of them.
"""
