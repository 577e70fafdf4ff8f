"""Istio's verdicts on resources whose types are right: each file walks one part and yields faults."""
