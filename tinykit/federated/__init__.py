"""Federated learning: devices learn from data that never leaves them, a server averages."""
