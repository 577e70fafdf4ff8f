"""The central server: registry, resources, certificate authority, snapshot stream. It never sees Envoy."""
