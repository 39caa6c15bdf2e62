"""States of a recording while it is being made."""
