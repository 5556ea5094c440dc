"""The bundled sample set; see README.md."""
