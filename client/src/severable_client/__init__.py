"""The data owner's side: daemon, training, gate, shipping."""
