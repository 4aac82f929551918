"""The coordinator's database through SQLAlchemy Core: SQLite here; PostgreSQL fits the same statements."""
