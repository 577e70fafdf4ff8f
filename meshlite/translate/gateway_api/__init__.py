"""The door: Gateway API's resources become Istio's here, and get their status. Pure.

Behind it there is one path: agents and plans know Istio's resources only.
"""
