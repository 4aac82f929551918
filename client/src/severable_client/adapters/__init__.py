"""Everything that touches the outside: files, SQLite, gRPC, Flower, processes and the command line."""
