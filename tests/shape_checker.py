"""What checks the annotations in tests. A module of its own, since there are several conftests."""

from beartype import BeartypeConf, beartype

# As for mypy, an int will do where a float is asked for.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
