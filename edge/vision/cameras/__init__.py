"""One file for each kind of camera; `edge.vision.camera` lists them and opens the one an address means."""
