"""How runs show up in the App, besides the panel."""
