"""Decides: who sees what, merged policies, resolved routes. Knows the model, never Envoy."""
