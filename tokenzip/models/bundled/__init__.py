"""Models that come with tokenzip: README.md of this folder says what holds for them.

table.json says what there is, so that nothing has to be loaded to know the candidates for some
tokens; table.py reads it and loads the models, adding.py makes new entries.
"""

from .table import Bundled, by_identity, by_name, by_number, entries, newest

__all__ = ["Bundled", "by_identity", "by_name", "by_number", "entries", "newest"]
