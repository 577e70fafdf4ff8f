"""The command line: verbs that talk to the server’s API. No logic of the mesh lives here."""
