"""One file per family of verbs; `meshlite.cli.main` lists which verb is in which."""
