"""meshlite: an Istio-compatible service mesh for Docker Compose hosts and VMs, without Kubernetes."""

__version__ = "0.1.0"
