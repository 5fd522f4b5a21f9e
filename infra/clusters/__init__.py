"""How the same flow runs on Kubernetes."""
