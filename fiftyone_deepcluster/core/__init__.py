"""What every other part of the package rests on; it knows neither images nor networks."""
