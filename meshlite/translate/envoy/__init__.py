"""Emits: plan → Envoy resources, one file for each Envoy concept. Never asks the mesh a question."""
