"""`callback conform`: a scripted server that drives a worker or client program in any language through scenarios."""
