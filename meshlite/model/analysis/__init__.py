"""What is wrong with resources together, and with what they refer to: Istio's analysis. Pure."""
