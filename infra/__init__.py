"""Where and how pipelines run: the command line, the embedded server, the deployments."""
