"""Where the coordinator touches the outside: SQL, files, gRPC, Flower and the command line."""
