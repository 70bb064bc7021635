"""One direction: products <g_i, v> without forming a gradient."""
