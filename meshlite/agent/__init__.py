"""The node agent: discovers, captures, certifies, translates, drives Envoy."""
