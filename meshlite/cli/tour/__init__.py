"""The tour that `meshlite demo` takes: real traffic through the mesh, and what came of it."""
