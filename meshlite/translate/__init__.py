"""snapshot × node → plan → Envoy resources: the pure stage, total and deterministic."""
