"""The command line: one file per family of verbs, each thin over the server's and the local agent's API."""
