"""Probing tasks: data, features and a metric become one row of a table."""
