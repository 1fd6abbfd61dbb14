"""Networks fitted to the data that they are to compress, which then carry them."""
