"""A second tokenzip, in plain Python, written from FORMAT.md and not from the package's code.

It decodes and is slow. It imports nothing but Python's own library (tests/test_reference.py holds
it to that), so whatever it decodes, the text alone explains.

    range_decoder      words to symbols, and back (section 7)
    blob_decoder       headers, stored chunks, payloads as bytes (sections 2 to 6)
    adaptive_decoder   the adaptive predictor (section 9)
    network_decoder    networks, model files, embedded models (section 10)
    hybrid_decoder     the hybrid (sections 10.8 and 10.10)
    archive_reader     archives (section 14)
    decode             all of it: a blob of any predictor to its tokens
"""
