"""How good a composite is: against a monolith, against naive averaging, after a removal, and at what cost."""
