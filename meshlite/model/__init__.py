"""What the mesh is made of: identities, workloads, services, Istio's resources, snapshot, messages."""
