"""Delivery of keys to applications: what is asked and answered, without sockets."""
