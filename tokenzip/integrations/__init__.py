"""tokenzip in the tools that people use already; one file for each, imported only when asked for.

    numcodecs    a codec "tokenzip", for Zarr format 2 and whatever else takes numcodecs
    zarr         an array-to-bytes codec for Zarr format 3
    hdf5         a filter: plain h5py reads and writes compressed datasets
    webdataset   a decoder and an encoder for .tkz members of tar shards

Each needs its package (pip install "tokenzip[zarr]" and so on); importing one without it raises
MissingDependencyError. docs/integrations.md has an example of each.
"""
