"""Embedded PostgreSQL and Valkey, and the supervisor of our processes. Free of Django."""
