"""What would become of a request: the plan, followed step by step and told with its reasons. Pure."""
