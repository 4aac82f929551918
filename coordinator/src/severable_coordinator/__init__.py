"""Admission, routers, composites, removal, the log."""
