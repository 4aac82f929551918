"""A whole federation on one machine: real processes, real TLS, real signatures, on the users' command lines."""
